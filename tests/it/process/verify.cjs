// Verifies POSTbacks with the Standard Webhooks library, as their receivers do. In: JSON {secret, messages: [{headers, body}]}.
// Out: how many are good; a bad one ends it with what the library says.
const { Webhook } = require("standardwebhooks");

const { secret, messages } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const webhook = new Webhook(secret);
for (const { headers, body } of messages) {
  webhook.verify(body, headers);
}
// A body that was changed must not pass, or the library has checked nothing.
let caught = 0;
for (const { headers, body } of messages) {
  try {
    webhook.verify(`${body} `, headers);
  } catch {
    caught += 1;
  }
}
console.log(`${messages.length} good, ${caught} changed ones found`);
