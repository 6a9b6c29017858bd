#!/usr/bin/env node
// Makes a key, checks it, disables it, checks it again, and deletes it, with @grpc/grpc-js and @grpc/proto-loader.
//
// With Claviger running (`cargo run --release`):
//
//     npm ci --prefix examples/node
//     node examples/node/check.mjs --token-file claviger-data/bootstrap-token
//
// The messages and clients are made from `proto/` when it runs; nothing is generated.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const { values: options } = parseArgs({
  options: {
    address: { type: "string", default: "127.0.0.1:50051" }, // where Claviger listens
    "token-file": { type: "string" }, // a file with the token of an administrator
  },
});
if (!options["token-file"]) {
  console.error("name the file with an administrator's token: --token-file FILE");
  process.exit(2);
}
const administrator = readFileSync(options["token-file"], "utf8").trim();

const proto = fileURLToPath(new URL("../../proto", import.meta.url));
const definition = loadSync(["claviger/v1/key_admin.proto", "claviger/v1/authorize.proto"], {
  includeDirs: [proto],
  keepCase: true, // fields as they are in the documentation: `display_name`
  enums: String, // and enums by their names
  longs: String,
  defaults: true,
});
const { KeyAdmin, Authorize } = grpc.loadPackageDefinition(definition).claviger.v1;

const insecure = grpc.credentials.createInsecure();
const keys = new KeyAdmin(options.address, insecure);
const authorize = new Authorize(options.address, insecure);

/** Calls a method and waits for its answer, 10 seconds at most. */
function call(client, method, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer));
    client[method](request, metadata, { deadline: Date.now() + 10_000 }, done);
  });
}

// Who administers says so with every call. Checks need no key: who reaches the port may ask.
const credentials = new grpc.Metadata();
credentials.set("authorization", `Bearer ${administrator}`);

/** Asks about a token that came in a header of its own, and prints the answer. */
async function check(token) {
  const credential = { token, presentation: "PRESENTATION_HEADER" };
  const answer = await call(authorize, "Check", { credential });
  console.log(`${answer.decision} ${answer.reason} at revision ${answer.revision}`);
}

const made = await call(keys, "CreateKey", { key: { display_name: "from Node" } }, credentials);
const { id, etag } = made.key;
const token = made.tokens[0].token; // shown this once: a real program hands it on to whoever will use it
console.log(`made ${id}`);
await check(token);

const disabled = await call(
  keys,
  "UpdateKey",
  { key: { id, enabled: false, etag }, update_mask: { paths: ["enabled"] } },
  credentials,
);
console.log(`disabled it at revision ${disabled.revision}`);
await check(token);

const deleted = await call(keys, "DeleteKey", { id }, credentials);
console.log(`deleted it at revision ${deleted.revision}`);

// An error has a status code, and details for people.
try {
  await call(keys, "GetKey", { id });
} catch (error) {
  console.log(`without a key: ${grpc.status[error.code]}`);
}

keys.close();
authorize.close();
