// Tasks with the TypeScript SDK v1. Arguments: the URL of a server, a file a task may make. Prints what it met
// as one line of JSON.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CallToolResultSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const [target, started] = process.argv.slice(2);
const client = new Client({ name: 'sdk-v1', version: '1' }, { capabilities: { elicitation: {} } });
let asked = null;
client.setRequestHandler(ElicitRequestSchema, (request) => {
  asked = request.params.message;
  return { action: 'accept', content: { name: 'Ada' } };
});
await client.connect(new StreamableHTTPClientTransport(new URL(`${target}/mcp`)));
await client.listTools();
const tasks = client.experimental.tasks;

async function followed(name, args) {
  const met = [];
  for await (const message of tasks.callToolStream({ name, arguments: args }, CallToolResultSchema)) met.push(message);
  return met;
}

const quick = await followed('quick', { number: 7 });
const said = await followed('ask', {});
const failed = await followed('fails', {});
let waiting = null;
for await (const message of tasks.callToolStream({ name: 'wait', arguments: { started, until: `${started}.never` } })) {
  if (message.type === 'taskCreated') waiting = message.task.taskId;
  if (message.type === 'taskStatus') break;
}
const cancelled = await tasks.cancelTask(waiting);
const listed = (await tasks.listTasks()).tasks.some((task) => task.taskId === waiting);
const kinds = [...new Set(quick.map((message) => message.type))];
console.log(
  JSON.stringify({
    quick: { kinds, result: quick.at(-1).result.structuredContent },
    asked: { asked, result: said.at(-1).result?.structuredContent },
    failed: failed.at(-1).type,
    cancelled: cancelled.status,
    listed,
  }),
);
await client.close();
