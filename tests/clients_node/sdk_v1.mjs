// One talk with the TypeScript SDK v1. Arguments: the talk (converse or ask), transport, then a URL or the
// command of a server. Prints what it met as one line of JSON.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { ask, person } from './asking.mjs';
import { converse } from './conversation.mjs';

const [talk, kind, target, ...rest] = process.argv.slice(2);
const transport = {
  http: () => new StreamableHTTPClientTransport(new URL(`${target}/mcp`)),
  sse: () => new SSEClientTransport(new URL(`${target}/sse`)),
  stdio: () => new StdioClientTransport({ command: target, args: rest, env: process.env, stderr: 'ignore' }),
}[kind]();
const client = new Client({ name: 'sdk-v1', version: '1' }, { capabilities: { elicitation: {} } });
const changed = new Promise((heard) => client.setNotificationHandler(ToolListChangedNotificationSchema, heard));
client.setRequestHandler(ElicitRequestSchema, person);
await client.connect(transport);
const call = (params, options) => client.callTool(params, undefined, options);
const version = '2025-11-25';
if (talk === 'ask') await ask(client, call, version);
await converse(client, call, changed, client.getServerCapabilities(), version);
