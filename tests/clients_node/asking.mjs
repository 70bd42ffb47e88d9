// An agent asks the person at a client before it acts: left as it is, changed, rejected with a reason, declined.
const REPLIES = [
  { action: 'accept', content: { to: 'Ada', text: 'lunch is at noon.', decision: 'accept' } },
  { action: 'accept', content: { to: 'Ada', text: 'lunch is at one.', decision: 'accept' } },
  { action: 'accept', content: { decision: 'reject', feedback: 'Ask her first.' } },
  { action: 'decline' },
];
const said = [];
const replies = [...REPLIES];

export const person = async ({ params }) => {
  const reply = replies.shift();
  said.push({ asked: params.message, fields: Object.keys(params.requestedSchema.properties), reply });
  return reply;
};

export async function ask(client, call, version) {
  for (const _ of REPLIES) {
    const request = 'Tell Ada that lunch is at noon.';
    said.push({ request });
    const { structuredContent, isError, content } = await call({ name: 'assistant', arguments: { request } });
    said.push({ result: structuredContent, isError, text: content[0].text });
  }
  console.log(JSON.stringify({ version, said }));
  await client.close();
  process.exit(0);
}
