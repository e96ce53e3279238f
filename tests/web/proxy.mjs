// Stands between the page and the real server, and makes it slow, broken or unwilling where a test says so.
import http from 'node:http';

/** `spoil(url, request, response)` returns true when it has dealt with the request. */
export async function startProxy(target, spoil) {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, target);
    if (spoil(url, request, response)) return;
    forward(url, request, response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

export function forward(url, request, response, change = (text) => text) {
  const headers = { ...request.headers, host: url.host, 'accept-encoding': 'identity' };
  const onward = http.request(url, { method: request.method, headers }, (answer) => {
    const parts = [];
    answer.on('data', (part) => parts.push(part));
    answer.on('end', () => {
      const body = Buffer.concat(parts);
      const text = answer.headers['content-type']?.includes('json') ? Buffer.from(change(body.toString())) : body;
      const { 'transfer-encoding': _, ...kept } = answer.headers;
      response.writeHead(answer.statusCode, { ...kept, 'content-length': text.length });
      response.end(text);
    });
  });
  onward.on('error', () => response.destroy());
  onward.end();
}

export function json(response, status, value, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', 'x-request-id': 'request-of-the-test', ...headers });
  response.end(JSON.stringify(value));
}
