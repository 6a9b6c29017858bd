#!/usr/bin/env python3
"""Makes a key, checks it, disables it, checks it again, and deletes it, with nothing but grpcio.

With Claviger running (`cargo run --release`):

    python3 -m venv venv
    venv/bin/pip install -r examples/python/requirements.txt
    venv/bin/python examples/python/check.py --token-file claviger-data/bootstrap-token

The messages and clients are generated from `proto/` when it runs; in a project of your own you would do that once, when
you build it: `python -m grpc_tools.protoc -Iproto --python_out=. --grpc_python_out=. proto/claviger/v1/*.proto`.
"""

import argparse
import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def generate(into):
    """Generates the Python modules of `claviger.v1` and makes them importable."""
    import grpc_tools

    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    files = sorted(str(path) for path in PROTO.glob("claviger/v1/*.proto"))
    arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={into}", f"--grpc_python_out={into}"]
    if protoc.main(arguments + files) != 0:
        sys.exit("the messages can't be generated")
    sys.path.insert(0, str(into))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--address", default="127.0.0.1:50051", help="where Claviger listens")
    parser.add_argument("--token-file", required=True, help="a file with the token of an administrator")
    arguments = parser.parse_args()
    administrator = pathlib.Path(arguments.token_file).read_text().strip()

    with tempfile.TemporaryDirectory() as generated:
        generate(generated)
        from claviger.v1 import authorize_pb2, authorize_pb2_grpc, key_admin_pb2, key_admin_pb2_grpc, key_pb2
        from google.protobuf.field_mask_pb2 import FieldMask

        with grpc.insecure_channel(arguments.address) as channel:
            keys = key_admin_pb2_grpc.KeyAdminStub(channel)
            authorize = authorize_pb2_grpc.AuthorizeStub(channel)
            # Who administers says so with every call. Checks need no key: who reaches the port may ask.
            credentials = (("authorization", f"Bearer {administrator}"),)

            def check(token):
                """Asks about a token that came in a header of its own, and prints the answer."""
                credential = authorize_pb2.Credential(token=token, presentation=key_pb2.PRESENTATION_HEADER)
                answer = authorize.Check(authorize_pb2.CheckRequest(credential=credential), timeout=10)
                decision = authorize_pb2.Decision.Name(answer.decision)
                reason = authorize_pb2.Reason.Name(answer.reason)
                print(f"{decision} {reason} at revision {answer.revision}")

            made = keys.CreateKey(
                key_admin_pb2.CreateKeyRequest(key=key_pb2.Key(display_name="from Python")),
                metadata=credentials,
                timeout=10,
            )
            token = made.tokens[0].token  # shown this once: a real program hands it on to whoever will use it
            print(f"made {made.key.id}")
            check(token)

            disabled = keys.UpdateKey(
                key_admin_pb2.UpdateKeyRequest(
                    key=key_pb2.Key(id=made.key.id, enabled=False, etag=made.key.etag),
                    update_mask=FieldMask(paths=["enabled"]),
                ),
                metadata=credentials,
                timeout=10,
            )
            print(f"disabled it at revision {disabled.revision}")
            check(token)

            deleted = keys.DeleteKey(
                key_admin_pb2.DeleteKeyRequest(id=made.key.id), metadata=credentials, timeout=10
            )
            print(f"deleted it at revision {deleted.revision}")

            # An error has a status code, and details for people.
            try:
                keys.GetKey(key_admin_pb2.GetKeyRequest(id=made.key.id), timeout=10)
            except grpc.RpcError as error:
                print(f"without a key: {error.code().name}")


if __name__ == "__main__":
    main()
