// The states between question and answer: waiting, slow, failed, nothing there.
import { ApiError, setKey } from './api';
import { h, icon, uniqueId, type Child } from './dom';
import { duration } from './format';

const SLOW_MS = 3000;

export function skeleton(rows: number): HTMLElement {
  const box = h('div', { class: 'skeleton', 'aria-hidden': 'true' });
  for (let row = 0; row < rows; row++) box.append(h('span', { class: 'bone short' }), h('span', { class: `bone wide-${(row % 3) + 1}` }));
  return box;
}

/** Says after a while that it still takes time, and lets go of it on request. */
export function waiting(rows: number, cancel: () => void): { element: HTMLElement; stop(): void } {
  const words = h('p', { class: 'slow', hidden: true });
  const since = Date.now();
  const timer = setInterval(() => {
    const passed = Date.now() - since;
    if (passed < SLOW_MS) return;
    if (words.hidden) words.append(h('span'), h('button', { type: 'button', class: 'button quiet', onclick: cancel }, 'Cancel'));
    words.hidden = false;
    words.firstElementChild!.textContent = `Still searching (${duration(Math.floor(passed / 1000))}). A rare word in a long range takes longest: a start date helps.`;
  }, 500);
  return { element: h('div', { class: 'waiting' }, words, skeleton(rows)), stop: () => clearInterval(timer) };
}

export function notice(kind: 'info' | 'warning', ...children: Child[]): HTMLElement {
  return h('div', { class: `notice ${kind}` }, icon('warning'), h('div', {}, ...children));
}

function explanation(error: unknown): { title: string; cure: string; id: string | null } {
  if (!(error instanceof ApiError)) return { title: 'The page could not read the answer.', cure: String(error), id: null };
  const retry = error.retryAfter ? ` It can be asked again in ${duration(error.retryAfter)}.` : '';
  return { title: error.message, cure: `${error.cure ?? ''}${retry}`.trim(), id: error.requestId };
}

export function failed(error: unknown, retry: () => void): HTMLElement {
  const { title, cure, id } = explanation(error);
  const again = h('button', { type: 'button', class: 'button', onclick: retry }, icon('retry'), 'Try again');
  return h(
    'div',
    { class: 'state failed', role: 'alert' },
    icon('warning'),
    h('p', { class: 'state-title' }, title),
    cure ? h('p', {}, cure) : null,
    error instanceof ApiError && (error.status === 401 || error.status === 403) ? keyForm(retry) : again,
    id ? h('p', { class: 'fine' }, `Request ${id}`) : null,
  );
}

/** The key lives as long as the tab. */
function keyForm(retry: () => void): HTMLElement {
  const id = uniqueId('key');
  const input = h('input', { id, type: 'password', autocomplete: 'off', class: 'input', required: true });
  const submit = (event: Event): void => {
    event.preventDefault();
    setKey(input.value.trim());
    retry();
  };
  return h(
    'form',
    { class: 'key-form', onsubmit: submit },
    h('label', { for: id }, 'API key'),
    input,
    h('button', { type: 'submit', class: 'button primary' }, 'Use this key'),
  );
}

export function empty(title: string, ...children: Child[]): HTMLElement {
  return h('div', { class: 'state' }, h('p', { class: 'state-title' }, title), ...children);
}
