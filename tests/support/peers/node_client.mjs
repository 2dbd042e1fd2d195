// node's own clients: `node node_client.mjs`. Told what to ask as JSON lines; many questions may be open at once.
import http from 'node:http';
import http2 from 'node:http2';
import { Readable } from 'node:stream';
import { digest, obey, pairs, pattern, pieces } from './common.mjs';

const TEXT_BYTES = 1 << 17;  // of a body that is given back as text
const { NGHTTP2_CANCEL } = http2.constants;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1000 });
const sessions = new Map();

function session(address) {
  let found = sessions.get(address);
  if (!found || found.closed || found.destroyed) {
    found = http2.connect(`http://${address}`, { settings: { enablePush: false }, maxHeaderListPairs: 1000 });
    found.on('error', () => {});
    sessions.set(address, found);
  }
  return found;
}

// Fields [[name, value] ...] as the object both clients take.
function grouped(fields) {
  const found = {};
  for (const [name, value] of fields) found[name] = name in found ? [found[name], value].flat() : value;
  return found;
}

// One question over either version: events `interim`, `head`, `data`, `trailers`, `end`, `error` of `on`.
function open1({ address, method, path, fields, body, trailers }, on) {
  const [host, port] = address.split(':');
  const headers = grouped(fields);
  if (body && body.known) headers['content-length'] = body.size;
  if (body && !body.known) headers['transfer-encoding'] = 'chunked';
  if (trailers) headers.trailer = Object.keys(trailers).join(', ');
  const request = http.request({ host, port, method, path, headers, agent, maxHeaderSize: 1 << 17 });
  request.on('continue', () => on.interim(100, []));
  request.on('information', (info) => { if (info.statusCode !== 100) on.interim(info.statusCode, pairs(info.rawHeaders)); });
  request.on('response', (response) => {
    on.head(response.statusCode, pairs(response.rawHeaders));
    response.on('data', on.data);
    response.on('end', () => {
      on.trailers(pairs(response.rawTrailers));
      on.end();
    });
    response.on('error', on.error);
  });
  request.on('error', on.error);
  if (trailers) request.addTrailers(trailers);
  return { stream: request, cancel: () => request.socket.resetAndDestroy() };
}

const plain = (headers) => Object.entries(headers).flatMap(
  ([name, value]) => (name.startsWith(':') ? [] : [value].flat().map((one) => [name, String(one)])));

function open2({ address, method, path, fields, body, trailers }, on) {
  const headers = { ':method': method, ':path': path, ':authority': address, ...grouped(fields) };
  if (body && body.known) headers['content-length'] = body.size;
  const stream = session(address).request(headers, { endStream: false, waitForTrailers: Boolean(trailers) });
  if (trailers) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.on('continue', () => on.interim(100, []));
  stream.on('headers', (info) => { if (info[':status'] !== 100) on.interim(info[':status'], plain(info)); });
  stream.on('response', (info) => on.head(info[':status'], plain(info)));
  stream.on('trailers', (info) => on.trailers(plain(info)));
  stream.on('data', on.data);
  stream.on('error', on.error);
  stream.on('end', () => { stream.ended = true; });
  stream.on('close', () => {
    if (stream.rstCode) on.error(new Error(`reset ${stream.rstCode}`));
    else if (stream.aborted || !stream.ended) on.error(new Error('aborted'));
    else on.end();
  });
  return { stream, cancel: () => stream.close(NGHTTP2_CANCEL) };
}

// Asks, and calls `watch(found, open)` at every event; resolves with what came until the end.
function ask(question, watch = () => {}, opened = () => {}) {
  const found = { status: 0, fields: [], interim: [], trailers: [], size: 0, error: null };
  const sum = digest();
  const text = [];
  return new Promise((resolve) => {
    let open;
    let ended = false;
    const once = () => {
      if (ended) return;
      ended = true;
      found.sha256 = sum.digest('hex');
      found.text = found.size <= TEXT_BYTES ? Buffer.concat(text).toString('latin1') : '';
      resolve(found);
    };
    open = (question.version === 'http1' ? open1 : open2)(question, {
      interim: (status, fields) => { found.interim.push([status, fields]); watch(found, open); },
      head: (status, fields) => { found.status = status; found.fields = fields; watch(found, open); },
      data(part) {
        found.size += part.length;
        sum.update(part);
        if (found.size <= TEXT_BYTES) text.push(part);
        watch(found, open, part);
      },
      trailers: (fields) => { found.trailers = fields; },
      end: once,
      error: (error) => { found.error ??= String(error.code ?? error.message); once(); },
    });
    const { body } = question;
    const send = () => {
      if (!body) open.stream.end();
      else if (!body.held) Readable.from(pieces(pattern(body.size))).pipe(open.stream);
    };
    if (question.fields.some(([name]) => name === 'expect')) open.stream.once('continue', send);
    else send();
    if (body && body.held && question.version === 'http1') open.stream.flushHeaders();
    opened(open);
  });
}

// Sends piece after piece, each when the one before has come back.
async function duplex({ count, ...question }) {
  let sent = 0;
  return ask({ ...question, body: { known: false, held: true } }, (found, { stream }) => {
    if (found.size !== sent * 5) return;
    if (sent === count) stream.end();
    else if (found.status) stream.write(String(sent++).padStart(5, '0'));
  });
}

// Gives up once the first bytes of the answer are there.
const cancel = (question) => ask(question, (found, open, part) => { if (part) open.cancel(); });

// A question that stays open while the test looks at the other side.
const begun = new Map();
function begin({ key, ...question }) {
  const one = {};
  one.done = ask(question, undefined, (open) => { one.open = open; });
  begun.set(key, one);
}
const abandon = ({ key }) => void begun.get(key).open.cancel();
const result = ({ key }) => begun.get(key).done;

obey({
  ask, duplex, cancel, begin, abandon, result,
  all: ({ questions }) => Promise.all(questions.map((question) => ask(question))),
  close: () => { sessions.forEach((one) => one.close()); sessions.clear(); agent.destroy(); },
});
