// What an agent does with the gate, by the official TypeScript SDK: the same checks for both of its lines.
//
// `node suite.mjs sdk` (v1, session era) or `node suite.mjs client` (v2: probes for 2026-07-28, falls back).
// Environment: WICKET_URL, WICKET_KEY, WICKET_SCRATCH. The packages are resolved from WICKET_SDK (the folder
// that holds their node_modules), so that nothing is installed into the sources.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const packages = createRequire(`${process.env.WICKET_SDK}/package.json`);
const load = (name) => import(pathToFileURL(packages.resolve(name)));
const { WICKET_URL: url, WICKET_KEY: key, WICKET_SCRATCH: scratch } = process.env;
const about = { name: "wicket-suite-typescript", version: "1.0.0" };

/** What differs between the two lines. */
const lines = {
  async sdk() {
    const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const { McpError } = await load("@modelcontextprotocol/sdk/types.js");
    return {
      make: () => new Client(about),
      call: (client, name, args, options) => client.callTool({ name, arguments: args }, undefined, options),
      Transport: StreamableHTTPClientTransport,
      Refusal: McpError,
      pagesItself: false,
    };
  },
  async client() {
    const { Client, StreamableHTTPClientTransport, ProtocolError } = await load("@modelcontextprotocol/client");
    return {
      make: () => new Client(about, { versionNegotiation: { mode: "auto" } }),
      call: (client, name, args, options) => client.callTool({ name, arguments: args }, options),
      Transport: StreamableHTTPClientTransport,
      Refusal: ProtocolError,
      // Asked without a cursor it walks all pages and gives one list.
      pagesItself: true,
    };
  },
};
const line = await lines[process.argv[2]]();

async function connect(withKey) {
  const client = line.make();
  const requestInit = { headers: { Authorization: `Bearer ${withKey}` } };
  await client.connect(new line.Transport(new URL(url), { requestInit }));
  return client;
}

const textOf = (result) => result.content[0].text;

async function refused(client, name, args) {
  try {
    const result = await line.call(client, name, args);
    assert.fail(`${name} was not refused: ${JSON.stringify(result)}`);
  } catch (error) {
    if (!(error instanceof line.Refusal)) throw error;
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
    assert.ok(pages > 1 || line.pagesItself, "the gate was set to small pages, but all came at once");
  },
  async "calls over stdio and HTTP answer"(client) {
    for (const service of ["everything", "remote"]) {
      const result = await line.call(client, `${service}__echo`, { message: "grüße ☃" });
      assert.match(textOf(result), /grüße ☃/);
    }
  },
  async "a file is read"(client) {
    const result = await line.call(client, "files__read_text_file", { path: `${scratch}/hello.txt` });
    assert.equal(textOf(result), "hello from the scratch folder\n");
  },
  async "progress streams while the call runs"(client) {
    for (const service of ["everything", "remote"]) {
      const seen = [];
      const onprogress = (progress) => seen.push([performance.now(), progress.progress]);
      await line.call(client, `${service}__trigger-long-running-operation`, { duration: 1, steps: 4 }, { onprogress });
      assert.ok(seen.length >= 3, `${service}: ${seen.length} progress notifications`);
      assert.ok(seen.at(-1)[0] - seen[0][0] > 300, `${service}: progress came in one heap`);
    }
  },
  async "a write is denied and does not happen"(client) {
    const path = `${scratch}/forbidden-${process.argv[2]}.txt`;
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
    const options = { signal: controller.signal, onprogress: () => controller.abort("changed my mind") };
    const call = line.call(client, "remote__trigger-long-running-operation", { duration: 30, steps: 60 }, options);
    await assert.rejects(call);
    assert.ok(performance.now() - began < 10_000, "cancelling took as long as the call");
    const result = await line.call(client, "remote__echo", { message: "still here" });
    assert.match(textOf(result), /still here/);
  },
  async "calls run side by side"(client) {
    const numbers = Array.from({ length: 20 }, (_, number) => number);
    const texts = await Promise.all(
      numbers.map((a) => line.call(client, "remote__get-sum", { a, b: 1000 }).then(textOf)),
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
const all = Object.keys(checks).length;
console.log(`${process.argv[2]}: ${all - failed} of ${all} checks passed`);
process.exit(failed ? 1 : 0);
