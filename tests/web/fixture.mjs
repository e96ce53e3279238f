// Synthetic events planted among the simulated ones: what strangers might post, and what the tests look for by name.

export const DAY = '2026-01-06';
const START_US = Date.parse(`${DAY}T06:00:00Z`) * 1000;
export const ALICE = { did: 'did:plc:aliceaaaaaaaaaaaaaaaaaaa', handle: 'alice.example.com', name: '\u202EAlice <b>Bold</b>' };
export const PAGED = { word: 'zanzibar', count: 27 };
export const HOSTILE = {
  script: '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"> xylophone',
  rtl: 'xylophone \u202Egnp.txt\u202C \u2067\u0645\u0631\u062D\u0628\u0627\u2069 \u202D unclosed \u202E override',
  long: `xylophone ${'A'.repeat(10_000)}`,
  formula: '=HYPERLINK("https://evil.example","xylophone"),\r\nsecond "line"',
};
// Byte offsets: 🎉 is 4, é is 2.
export const LINKED = {
  text: '🎉 été: example.com/x #caturday @alice and xylophone',
  facets: [
    facet('🎉 été: ', 'example.com/x', { $type: 'app.bsky.richtext.facet#link', uri: 'https://example.com/x?a=1' }),
    facet('🎉 été: example.com/x ', '#caturday', { $type: 'app.bsky.richtext.facet#tag', tag: 'caturday' }),
    facet('🎉 été: example.com/x #caturday ', '@alice', { $type: 'app.bsky.richtext.facet#mention', did: ALICE.did }),
    { index: { byteStart: 1, byteEnd: 3 }, features: [{ $type: 'app.bsky.richtext.facet#tag', tag: 'insideacharacter' }] },
    { index: { byteStart: 0, byteEnd: 4 }, features: [{ $type: 'app.bsky.richtext.facet#link', uri: 'javascript:window.hacked=3' }] },
    { index: { byteStart: 40, byteEnd: 4000 }, features: [{ $type: 'app.bsky.richtext.facet#tag', tag: 'beyondtheend' }] },
    { index: { byteStart: -4, byteEnd: 2 }, features: [{ $type: 'app.bsky.richtext.facet#tag', tag: 'negative' }] },
  ],
};

function facet(before, text, feature) {
  const byteStart = Buffer.byteLength(before);
  return { index: { byteStart, byteEnd: byteStart + Buffer.byteLength(text) }, features: [feature] };
}

const ALPHABET = '234567abcdefghijklmnopqrstuvwxyz';
/** A record key or revision made of a time, as atproto does it. */
function tid(us) {
  let value = BigInt(us) << 10n;
  let text = '';
  for (let n = 0; n < 13; n++) {
    text = ALPHABET[Number(value & 31n)] + text;
    value >>= 5n;
  }
  return text;
}

const CID = 'bafyreidk5csivn2jmql4p5juaypuc5qrfxa2akq5mx6qmh2vzc4c7xgsda';

export function events() {
  let us = START_US;
  const lines = [];
  const next = () => (us += 1_000_000);
  const commit = (did, collection, record) => {
    const time_us = next();
    const rkey = collection === 'app.bsky.actor.profile' ? 'self' : tid(time_us);
    lines.push({ did, time_us, kind: 'commit', commit: { rev: tid(time_us), operation: 'create', collection, rkey, record: { $type: collection, ...record }, cid: CID } });
  };
  const post = (did, text, more = {}) => commit(did, 'app.bsky.feed.post', { createdAt: new Date(us / 1000).toISOString(), langs: ['en'], text, ...more });
  lines.push({ did: ALICE.did, time_us: next(), kind: 'identity', identity: { did: ALICE.did, handle: ALICE.handle, seq: 1, time: new Date(us / 1000).toISOString() } });
  commit(ALICE.did, 'app.bsky.actor.profile', { createdAt: '2026-01-06T06:00:00.000Z', displayName: ALICE.name });
  for (let n = 1; n <= PAGED.count; n++) post(`did:plc:${String.fromCharCode(96 + ((n - 1) % 20) + 1).repeat(24)}`, `${PAGED.word} number ${n}`);
  for (const text of Object.values(HOSTILE)) post(ALICE.did, text);
  post(ALICE.did, LINKED.text, { facets: LINKED.facets });
  post(ALICE.did, 'xylophone with a card', {
    createdAt: '1970-01-01T00:00:00.000Z',
    embed: { $type: 'app.bsky.embed.external', external: { uri: 'javascript:window.hacked=4', title: 'bad', description: '' } },
  });
  post(ALICE.did, 'xylophone with pictures', {
    embed: { $type: 'app.bsky.embed.images', images: [{ alt: '<i>a cat</i>', image: { $type: 'blob', ref: { $link: CID }, mimeType: 'image/jpeg', size: 1000 } }] },
  });
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

const line = (event) => `${JSON.stringify(event)}\n`;

/** A post of the day after all the others. */
export function laterPost(text) {
  const us = START_US + 24 * 3600 * 1_000_000;
  const record = { $type: 'app.bsky.feed.post', createdAt: new Date(us / 1000).toISOString(), text };
  return line({ did: ALICE.did, time_us: us, kind: 'commit', commit: { rev: tid(us), operation: 'create', collection: 'app.bsky.feed.post', rkey: tid(us), record, cid: CID } });
}

/** That a post was deleted, two days after. */
export function removal(uri) {
  const us = START_US + 48 * 3600 * 1_000_000;
  const [, , did, collection, rkey] = uri.split('/');
  return line({ did, time_us: us, kind: 'commit', commit: { rev: tid(us), operation: 'delete', collection, rkey } });
}
