// An OpenID provider on 127.0.0.1. It reads its configuration as JSON from the first argument. `GET /requests` returns the
// number of requests by path. Its pages let any user sign in with any password.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const { port, audience, redirectUri, keys } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const SCOPES = ['submit', 'read', 'admin', 'read-all', 'dropzone.submit', 'dropzone.read'];
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'station',
      client_secret: 'a-secret-of-the-station',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
    {
      client_id: 'brief', // its tokens expire after a few seconds
      client_secret: 'a-secret-of-the-station',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
    {
      client_id: 'dropzone',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token', DEVICE],
      redirect_uris: [redirectUri],
      response_types: ['code'],
      application_type: 'native',
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: (context, resource, { clientId }) => ({
        scope: SCOPES.join(' '),
        audience,
        accessTokenTTL: clientId === 'brief' ? 8 : 3600,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  scopes: ['openid', 'offline_access', ...SCOPES],
  issueRefreshToken: async (context, client) => client.grantTypeAllowed('refresh_token'),
  enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  jwks: { keys },
  cookies: { keys: ['a-key-of-cookies'] },
  ttl: { Session: 3600, Grant: 3600, Interaction: 3600, DeviceCode: 600, RefreshToken: 3600, IdToken: 3600 },
  findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});

const requests = {};
const answer = provider.callback();
createServer((request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/requests') {
    response.end(JSON.stringify(requests));
    return;
  }
  requests[path] = (requests[path] ?? 0) + 1;
  answer(request, response);
}).listen(port, '127.0.0.1', () => console.log('ready'));
