// Lists the tools, then calls some, with a TypeScript SDK. Arguments: v1, or the era of v2 (legacy, auto); a
// URL; then the names of tools that take no arguments. Prints their results, or the client's error, as JSON.
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';

const [kind, url, ...names] = process.argv.slice(2);
const about = { name: 'calls', version: '1' };
const client =
  kind === 'v1' ? new ClientV1(about) : new ClientV2(about, { versionNegotiation: { mode: kind } });
const address = new URL(`${url}/mcp`);
await client.connect(kind === 'v1' ? new TransportV1(address) : new TransportV2(address));
const { tools } = await client.listTools();
const results = {};
for (const name of names) {
  results[name] = await client.callTool({ name, arguments: {} }).catch((error) => ({ refused: `${error}` }));
}
console.log(JSON.stringify({ tools, results }));
await client.close();
