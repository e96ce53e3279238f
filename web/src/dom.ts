// Elements are made here and nowhere else. Text becomes text nodes: nothing that came over the network is ever parsed as HTML.

export type Child = Node | string | number | null | undefined | false;
type Listener = (event: Event) => void;
export type Properties = Record<string, string | number | boolean | null | undefined | Listener>;

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) setProperty(element, name, value);
  append(element, children);
  return element;
}

function setProperty(element: Element, name: string, value: Properties[string]): void {
  if (value === null || value === undefined || value === false) return;
  if (typeof value === 'function') element.addEventListener(name.replace(/^on/, ''), value);
  else element.setAttribute(name, value === true ? '' : String(value));
}

export function append(parent: Node, children: readonly Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(typeof child === 'object' ? child : document.createTextNode(String(child)));
  }
}

export function replace(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  append(parent, children);
}

const SVG = 'http://www.w3.org/2000/svg';
const ICONS = {
  logo: 'M3 9c3-3 5.500-3 9 0s6 3 9 0M3 15c3-3 5.500-3 9 0s6 3 9 0',
  gear: 'M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 3v3M12 18v3M3 12h3M18 12h3M5.600 5.600l2.100 2.100M16.300 16.300l2.100 2.100M18.400 5.600l-2.100 2.100M7.700 16.300l-2.100 2.100',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5',
  close: 'M6 6l12 12M18 6L6 18',
  quote: 'M5 17V11a4 4 0 0 1 4-4M5 12h4v5H5M14 17V11a4 4 0 0 1 4-4M14 12h4v5h-4',
  external: 'M14 4h6v6M20 4l-9 9M18 14v5H5V6h5',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  link: 'M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1',
  warning: 'M12 4l9 16H3zM12 10v4M12 17v.5',
  retry: 'M20 12a8 8 0 1 1-2.500-5.800M20 3v4h-4',
} as const;

export function icon(name: keyof typeof ICONS): SVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  const attributes = { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true', focusable: 'false' };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.appendChild(path);
  return svg;
}

/** To the clipboard, which a page may not use everywhere; the label says for a moment what came of it. */
export async function copyText(text: string, label: HTMLElement, elsewhere = 'Select the text and copy it'): Promise<void> {
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = 'Copied';
  } catch {
    label.textContent = elsewhere;
  }
  setTimeout(() => (label.textContent = before), 2500);
}

let ids = 0;
export function uniqueId(prefix: string): string {
  return `${prefix}-${++ids}`;
}

/** For what only a screen reader needs. */
export function spoken(text: string): HTMLElement {
  return h('span', { class: 'spoken' }, text);
}

/** An address from outside is used only when it is plain web. */
export function webAddress(text: unknown): string | null {
  if (typeof text !== 'string') return null;
  try {
    const url = new URL(text);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : null;
  } catch {
    return null;
  }
}

export function outsideLink(href: string, properties: Properties, ...children: Child[]): HTMLAnchorElement {
  return h('a', { href, target: '_blank', rel: 'noopener noreferrer nofollow ugc', ...properties }, ...children);
}

export function saveAs(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = h('a', { href: address, download: name });
  document.body.appendChild(link);
  link.click();
  link.remove();
  // The browser reads the blob after this turn of the loop.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
