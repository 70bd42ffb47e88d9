// One talk with the TypeScript SDK v2. Arguments: the talk (converse or ask), era (legacy, auto, or a version
// to pin), transport, then a URL or the command of a server. Prints what it met as one line of JSON.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { ask, person } from './asking.mjs';
import { converse } from './conversation.mjs';

const [talk, era, kind, target, ...rest] = process.argv.slice(2);
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
  {
    capabilities: { elicitation: {} },
    versionNegotiation: { mode },
    listChanged: { tools: { onChanged: () => hear() } },
  },
);
client.setRequestHandler('elicitation/create', person);
await client.connect(transport);
const call = (params, options) => client.callTool(params, options);
const version = client.getNegotiatedProtocolVersion();
if (talk === 'ask') await ask(client, call, version);
await converse(client, call, changed, client.getServerCapabilities(), version);
