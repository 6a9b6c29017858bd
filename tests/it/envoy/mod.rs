//! Claviger behind the real Envoy, with the sample configuration of `deploy/envoy.yaml`.

mod addresses;
mod allowed;
mod denied;
mod failure_mode;
mod grpc_callers;
mod hostile;
mod isolation;
mod observed;
mod off_the_record;
mod recorded;
mod routes;
