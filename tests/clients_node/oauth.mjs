// The OAuth flow of the TypeScript SDKs: refused, discovery, registration, PKCE, a token, a call; then refused
// again by a tool that needs more, a second token, and the tool. Arguments: v1, or the era of v2; the server's
// URL. Prints what it met as one line of JSON.
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [kind, url] = process.argv.slice(2);
const [Client, Transport] = kind === 'v1' ? [ClientV1, TransportV1] : [ClientV2, TransportV2];

class Person { // agrees to everything, and keeps what the client has to remember
  granted = [];
  redirectUrl = 'http://127.0.0.1:9/callback';
  clientMetadata = {
    redirect_uris: [this.redirectUrl],
    client_name: 'oauth',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_post',
  };
  clientInformation = () => this.information;
  saveClientInformation = (information) => { this.information = information; };
  tokens = () => this.kept;
  saveTokens = (tokens) => { this.kept = tokens; this.granted.push(tokens.scope); };
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => { this.verifier = verifier; };
  discoveryState = () => this.discovered;
  saveDiscoveryState = (state) => { this.discovered = state; };
  redirectToAuthorization = async (address) => { // as a browser would, up to the way back to the client
    const answer = await fetch(address, { redirect: 'manual' });
    this.back = new URL(answer.headers.get('location')).searchParams;
  };
}

const person = new Person();

async function attempt(name, given) {
  const client = new Client({ name: 'oauth', version: '1' }, { versionNegotiation: { mode: kind } });
  const transport = new Transport(new URL(`${url}/mcp`), { authProvider: person });
  try {
    await client.connect(transport);
    return await client.callTool({ name, arguments: given });
  } catch (error) {
    if (!person.back) throw error;
    await transport.finishAuth(kind === 'v1' ? person.back.get('code') : person.back);
    return undefined; // a client that was refused is not used again
  } finally {
    person.back = undefined;
    await client.close();
  }
}

async function call(name, given) {
  return (await attempt(name, given)) ?? (await attempt(name, given));
}

const echoed = await call('echo', { text: 'hello' });
const cleared = await call('clear_cache', {});
console.log(JSON.stringify({ echoed: echoed.structuredContent, refused: !!cleared.isError, granted: person.granted }));
