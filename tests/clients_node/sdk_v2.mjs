// One conversation with the TypeScript SDK v2. Arguments: era (legacy, auto, or a version to pin), transport,
// then a URL or the command of a server. Prints what it met as one line of JSON.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { converse } from './conversation.mjs';

const [era, kind, target, ...rest] = process.argv.slice(2);
const transport = {
  http: () => new StreamableHTTPClientTransport(new URL(`${target}/mcp`)),
  sse: () => new SSEClientTransport(new URL(`${target}/sse`)),
  stdio: () => new StdioClientTransport({ command: target, args: rest, env: process.env, stderr: 'ignore' }),
}[kind]();
const mode = ['legacy', 'auto'].includes(era) ? era : { pin: era };
let hear;
const changed = new Promise((heard) => (hear = heard));
const client = new Client(
  { name: 'sdk-v2', version: '1' },
  { versionNegotiation: { mode }, listChanged: { tools: { onChanged: () => hear() } } },
);
await client.connect(transport);
const call = (params, options) => client.callTool(params, options);
await converse(client, call, changed, client.getServerCapabilities(), client.getNegotiatedProtocolVersion());
