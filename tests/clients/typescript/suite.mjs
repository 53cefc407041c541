// What an agent does with the gate, by the official TypeScript SDK.
//
// Environment: WICKET_URL, WICKET_KEY, WICKET_SCRATCH. The SDK is resolved from WICKET_SDK (the folder
// that holds its node_modules), so that nothing is installed into the sources.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const sdk = createRequire(`${process.env.WICKET_SDK}/package.json`);
const load = (path) => import(pathToFileURL(sdk.resolve(`@modelcontextprotocol/sdk/${path}`)));
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
const { McpError } = await load("types.js");

const { WICKET_URL: url, WICKET_KEY: key, WICKET_SCRATCH: scratch } = process.env;

async function connect(withKey) {
  const client = new Client({ name: "wicket-suite-typescript", version: "1.0.0" });
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { Authorization: `Bearer ${withKey}` } },
  });
  await client.connect(transport);
  return client;
}

const textOf = (result) => result.content[0].text;

async function refused(client, name, args) {
  try {
    const result = await client.callTool({ name, arguments: args });
    assert.fail(`${name} was not refused: ${JSON.stringify(result)}`);
  } catch (error) {
    if (!(error instanceof McpError)) throw error;
    return error;
  }
}

const checks = {
  async "tools of all connectors are listed over pages"(client) {
    const names = [];
    let cursor;
    let pages = 0;
    do {
      const page = await client.listTools(cursor ? { cursor } : {});
      names.push(...page.tools.map((tool) => tool.name));
      cursor = page.nextCursor;
      pages += 1;
    } while (cursor);
    for (const expected of ["everything__echo", "remote__echo", "files__read_text_file", "wicket__whoami"]) {
      assert.ok(names.includes(expected), `${expected} is not among ${names}`);
    }
    assert.equal(new Set(names).size, names.length, "a tool is listed twice");
    assert.ok(pages > 1, "the gate was set to small pages, but all came at once");
  },
  async "calls over stdio and HTTP answer"(client) {
    for (const service of ["everything", "remote"]) {
      const result = await client.callTool({ name: `${service}__echo`, arguments: { message: "grüße ☃" } });
      assert.match(textOf(result), /grüße ☃/);
    }
  },
  async "a file is read"(client) {
    const result = await client.callTool({
      name: "files__read_text_file",
      arguments: { path: `${scratch}/hello.txt` },
    });
    assert.equal(textOf(result), "hello from the scratch folder\n");
  },
  async "progress streams while the call runs"(client) {
    for (const service of ["everything", "remote"]) {
      const seen = [];
      await client.callTool(
        { name: `${service}__trigger-long-running-operation`, arguments: { duration: 1, steps: 4 } },
        undefined,
        { onprogress: (progress) => seen.push([performance.now(), progress.progress]) },
      );
      assert.ok(seen.length >= 3, `${service}: ${seen.length} progress notifications`);
      assert.ok(seen.at(-1)[0] - seen[0][0] > 300, `${service}: progress came in one heap`);
    }
  },
  async "a write is denied and does not happen"(client) {
    const path = `${scratch}/forbidden-typescript.txt`;
    const error = await refused(client, "files__write_file", { path, content: "x" });
    assert.equal(error.code, -32600);
    assert.match(error.message, /Authorization denied: tool 'write_file' is not permitted for agent 'tester'/);
    assert.ok(error.data?.requestId, "no requestId");
    assert.ok(!existsSync(path), "the denied call was carried out");
  },
  async "an unknown tool is told"(client) {
    assert.equal((await refused(client, "everything__no_such_tool", {})).code, -32602);
  },
  async "a call is cancelled"(client) {
    const controller = new AbortController();
    const began = performance.now();
    const call = client.callTool(
      { name: "remote__trigger-long-running-operation", arguments: { duration: 30, steps: 60 } },
      undefined,
      { signal: controller.signal, onprogress: () => controller.abort("changed my mind") },
    );
    await assert.rejects(call);
    assert.ok(performance.now() - began < 10_000, "cancelling took as long as the call");
    const result = await client.callTool({ name: "remote__echo", arguments: { message: "still here" } });
    assert.match(textOf(result), /still here/);
  },
  async "calls run side by side"(client) {
    const numbers = Array.from({ length: 20 }, (_, number) => number);
    const texts = await Promise.all(
      numbers.map((a) => client.callTool({ name: "remote__get-sum", arguments: { a, b: 1000 } }).then(textOf)),
    );
    texts.forEach((text, number) => assert.ok(text.includes(String(number + 1000)), `${number}: ${text}`));
  },
  async "a wrong key is refused"() {
    await assert.rejects(connect("A".repeat(32)));
  },
};

const client = await connect(key);
console.log(`connected: ${JSON.stringify(client.getServerVersion())}`);
let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  const began = performance.now();
  try {
    await check(client);
    console.log(`ok ${name} (${((performance.now() - began) / 1000).toFixed(2)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
}
await client.close();
console.log(`typescript: ${Object.keys(checks).length - failed} of ${Object.keys(checks).length} checks passed`);
process.exit(failed ? 1 : 0);
