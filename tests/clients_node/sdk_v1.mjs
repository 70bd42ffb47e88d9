// One conversation with the TypeScript SDK v1. Arguments: transport, then a URL or the command of a server.
// Prints what it met as one line of JSON.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { converse } from './conversation.mjs';

const [kind, target, ...rest] = process.argv.slice(2);
const transport = {
  http: () => new StreamableHTTPClientTransport(new URL(`${target}/mcp`)),
  sse: () => new SSEClientTransport(new URL(`${target}/sse`)),
  stdio: () => new StdioClientTransport({ command: target, args: rest, env: process.env, stderr: 'ignore' }),
}[kind]();
const client = new Client({ name: 'sdk-v1', version: '1' });
const changed = new Promise((heard) => client.setNotificationHandler(ToolListChangedNotificationSchema, heard));
await client.connect(transport);
const call = (params, options) => client.callTool(params, undefined, options);
await converse(client, call, changed, client.getServerCapabilities(), '2025-11-25');
