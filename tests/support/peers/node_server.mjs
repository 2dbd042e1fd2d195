// node's own servers as an upstream: `node node_server.mjs http1|http2`. One handler serves both, by path.
import http from 'node:http';
import http2 from 'node:http2';
import { Readable } from 'node:stream';
import { digest, obey, pairs, pattern, pieces } from './common.mjs';

const version = process.argv[2];
const { NGHTTP2_INTERNAL_ERROR } = http2.constants;
const events = [];  // [what, path]
const waiting = [];
let server;

function note(what, path) {
  events.push([what, path]);
  for (const look of [...waiting]) look();
}

// Resolves when `what` has happened to `path`.
function happened({ what, path }) {
  return new Promise((resolve) => {
    const look = () => {
      if (!events.some((event) => event[0] === what && event[1] === path)) return;
      if (waiting.includes(look)) waiting.splice(waiting.indexOf(look), 1);
      resolve(true);
    };
    waiting.push(look);
    look();
  });
}

async function whole(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

function send(response, data, how) {
  if (how === 'length') response.setHeader('content-length', data.length);
  Readable.from(pieces(data)).pipe(response);
}

const cut = (request, response) =>
  request.stream ? request.stream.close(NGHTTP2_INTERNAL_ERROR) : response.socket.destroy();

const handlers = {
  async echo(request, response) {
    response.setHeader('trailer', 'got-sum, length');
    response.flushHeaders();
    let length = 0;
    for await (const part of request) {
      length += part.length;
      response.write(part);
    }
    response.addTrailers({ 'got-sum': request.trailers.sum ?? '', length: String(length) });
    response.end();
  },
  bytes: (request, response, query) => send(response, pattern(Number(query.get('n'))), query.get('as')),
  async sum(request, response) {
    const data = await whole(request);
    response.end(JSON.stringify({ size: data.length, sha256: digest().update(data).digest('hex') }));
  },
  async fields(request, response) {
    await whole(request);
    response.end(JSON.stringify({
      method: request.method, target: request.url, version: request.httpVersion, fields: pairs(request.rawHeaders),
    }));
  },
  answer(request, response, query) {
    response.setHeader('set-cookie', ['a=1; Path=/', 'b=2']);
    response.setHeader('x-large', 'v'.repeat(Number(query.get('large'))));
    response.setHeader('x-twice', ['one', 'two']);
    response.end('ok');
  },
  hop(request, response) {  // fields of this connection alone, where there are any
    if (version === 'http1') {
      response.setHeader('connection', 'keep-alive, x-hop');
      response.setHeader('keep-alive', 'timeout=5');
      response.setHeader('x-hop', 'mine');
    }
    response.end('ok');
  },
  async status(request, response, query) {
    await whole(request);
    response.statusCode = Number(query.get('code'));
    response.end();
  },
  early(request, response) {
    response.writeEarlyHints({ link: '</style.css>; rel=preload', 'x-hint': 'yes' });
    response.end('late');
  },
  pieces(request, response) {
    response.flushHeaders();
    request.on('data', (part) => response.write(part));
    request.on('end', () => response.end());
  },
  cut(request, response, query) {
    response.setHeader('content-length', 10_000_000);
    response.write(pattern(Number(query.get('n'))), () => setImmediate(cut, request, response));
  },
  dead: (request, response) => cut(request, response),
  hang(request, response) {  // has answered, does not end
    response.flushHeaders();
    response.write('first');
  },
  silent() {},
  slow: (request, response, query) => setTimeout(() => response.end('slow'), Number(query.get('ms'))),
  refuse(request, response) {  // answers before it has seen the body
    response.statusCode = 413;
    response.end('too much');
  },
};

function handle(request, response) {
  const url = new URL(request.url, 'http://x');
  const name = url.pathname.split('/')[1];
  request.on('aborted', () => note('abandoned', url.pathname));
  request.on('error', () => {});
  response.on('error', () => {});
  note('begun', url.pathname);
  Promise.resolve(handlers[name](request, response, url.searchParams)).catch(() => cut(request, response));
}

function interim(request, response) {
  response.writeContinue();
  handle(request, response);
}

server = version === 'http1'
  ? http.createServer({ maxHeaderSize: 1 << 17, keepAliveTimeout: 60_000 })
  : http2.createServer({ settings: { maxConcurrentStreams: 200 } });
server.on('request', handle);
server.on('checkContinue', interim);
server.on('sessionError', () => {});
server.on('clientError', (error, socket) => socket.destroy());
const connections = new Set();
let accepted = 0;
server.on('connection', (socket) => {
  accepted += 1;
  connections.add(socket);
  socket.on('close', () => connections.delete(socket));
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(JSON.stringify({ id: 0, value: `127.0.0.1:${server.address().port}` }) + '\n');
});
obey({
  happened,
  accepted: () => accepted,
  drop: () => connections.forEach((socket) => socket.destroy()),
});
