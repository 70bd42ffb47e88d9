// What every Node client does with a server, whatever its SDK.
const WRAPPER = `from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self) -> str:
        """Answers."""
        return "deployed"
`;

const within = (seconds, promise) =>
  Promise.race([promise, new Promise((_, fail) => setTimeout(() => fail(new Error('timeout')), seconds * 1000))]);

export async function converse(client, call, changed, capabilities, version) {
  const { tools } = await client.listTools();
  const echo = await call({ name: 'echo', arguments: { text: 'hi' } });
  const heard = [];
  const steps = await call({ name: 'steps', arguments: { count: 50 } }, { onprogress: (p) => heard.push(p.message) });
  const bad = await call({ name: 'echo', arguments: {} });
  const unknown = await call({ name: 'nowhere', arguments: {} }).catch((error) => error);
  const name = `made_by_${process.pid}`;
  const deployed = await call({ name: 'deploy_pipeline', arguments: { name, files: { 'pipeline_wrapper.py': WRAPPER } } });
  await within(20, changed);
  const made = await call({ name, arguments: {} });
  await call({ name: 'undeploy_pipeline', arguments: { pipeline_name: name } });
  console.log(
    JSON.stringify({
      version,
      listChanged: capabilities.tools.listChanged,
      tools: tools.map((tool) => tool.name),
      echo: echo.structuredContent,
      steps: steps.structuredContent,
      heard,
      bad: [bad.isError, bad.content[0].text],
      unknown: unknown.code,
      deployed: deployed.structuredContent?.tool,
      made: made.structuredContent,
    }),
  );
  await client.close();
  process.exit(0);
}
