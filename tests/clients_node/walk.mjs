// Calls tools one after the other with a TypeScript SDK. Arguments: v1, or the era of v2 (legacy, auto); a
// URL; then a JSON array of [name, arguments]. Prints their structured contents as a line of JSON.
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';

const [kind, url, calls] = process.argv.slice(2);
const about = { name: 'walk', version: '1' };
const client =
  kind === 'v1' ? new ClientV1(about) : new ClientV2(about, { versionNegotiation: { mode: kind } });
const address = new URL(`${url}/mcp`);
await client.connect(kind === 'v1' ? new TransportV1(address) : new TransportV2(address));
await client.listTools(); // so that the client checks what it gets against the schemas
const answers = [];
for (const [name, given] of JSON.parse(calls)) {
  const result = await client.callTool({ name, arguments: given });
  if (result.isError) throw new Error(result.content[0].text);
  answers.push(result.structuredContent);
}
console.log(JSON.stringify(answers));
await client.close();
