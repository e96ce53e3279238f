// The search card: one box, its chips, the filters, and help with the operators.
import type { ApiError } from '../api';
import { h, icon, replace, uniqueId, type Child } from '../dom';
import { language } from '../format';
import { faults, type Field, type Query } from './query';
import { chipLabel, OPERATORS, tokens, without } from './tokens';

const LANGUAGES = ['en', 'ja', 'pt', 'de', 'es', 'fr', 'ko', 'ru', 'ar', 'th', 'it', 'nl', 'pl', 'tr', 'uk', 'zh', 'id', 'sv', 'fi', 'da', 'nb', 'cs', 'el', 'he', 'hi', 'fa', 'vi'];

interface Control {
  input: HTMLInputElement | HTMLSelectElement;
  fault: HTMLElement;
  element: HTMLElement;
}

export interface SearchForm {
  element: HTMLElement;
  fill(query: Query): void;
  setBusy(busy: boolean): void;
  refuse(error: ApiError): boolean;
  focus(): void;
}

function control(label: string, input: Control['input'], className: string): Control {
  const id = uniqueId('field');
  const fault = h('p', { id: `${id}-fault`, class: 'fault', role: 'alert' });
  input.id = id;
  input.classList.add('input');
  const element = h('div', { class: `field ${className}` }, h('label', { for: id }, label), input, fault);
  return { input, fault, element };
}

function setFault(control: Control, ...message: Child[]): void {
  replace(control.fault, ...message);
  const wrong = message.some(Boolean);
  control.element.classList.toggle('wrong', wrong);
  if (wrong) {
    control.input.setAttribute('aria-invalid', 'true');
    control.input.setAttribute('aria-describedby', control.fault.id);
  } else {
    control.input.removeAttribute('aria-invalid');
    control.input.removeAttribute('aria-describedby');
  }
}

function languageSelect(): HTMLSelectElement {
  const select = h('select', {}, h('option', { value: '' }, 'Any language'));
  for (const code of LANGUAGES) select.append(h('option', { value: code }, language(code)));
  return select;
}

function setLanguage(select: HTMLSelectElement, code: string): void {
  if (code && ![...select.options].some((option) => option.value === code)) select.append(h('option', { value: code }, language(code)));
  select.value = code;
}

function operatorHelp(insert: (example: string) => void): HTMLElement {
  const rows: [string, string][] = [
    ['cats "black dog"', 'all of these words, and the phrase'],
    ['#caturday', 'with this hashtag'],
    ['-dogs', 'without this; works before anything'],
    ['cats OR dogs', 'one of them; group with parentheses'],
    ...OPERATORS.map((operator): [string, string] => [operator.example, operator.sentence]),
  ];
  const list = h('ul', { class: 'operators' });
  for (const [example, sentence] of rows) {
    const button = h('button', { type: 'button', class: 'example', onclick: () => insert(example), 'aria-label': `Insert ${example}` }, h('code', {}, example));
    list.append(h('li', {}, button, h('span', {}, sentence)));
  }
  return h('details', { class: 'help' }, h('summary', {}, 'Search operators'), list);
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function sentence(error: ApiError): string {
  return error.cure ? `${capital(error.message)}: ${error.cure}` : capital(error.message);
}

/** "column 6: ..." of the server's parser, shown at that character. */
function pointed(error: ApiError, text: string): Child[] {
  const column = Number(/column (\d+)/.exec(error.message)?.[1] ?? NaN);
  if (!Number.isInteger(column)) return [sentence(error)];
  const characters = [...text];
  const at = Math.min(column - 1, characters.length);
  return [
    sentence(error),
    h('span', { class: 'pointed', 'aria-hidden': 'true' }, characters.slice(Math.max(0, at - 30), at).join(''), h('mark', {}, characters[at] ?? '␣'), characters.slice(at + 1, at + 30).join('')),
  ];
}

export function searchForm(submit: (query: Query) => void): SearchForm {
  const q = control('Search', h('input', { type: 'search', placeholder: 'Search by text or hashtag', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', enterkeyhint: 'search', maxlength: 4096 }), 'field-q');
  const username = control('Username', h('input', { type: 'text', placeholder: 'Filter by username', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', maxlength: 300 }), '');
  const start = control('Start date', h('input', { type: 'date', min: '2022-01-01', max: '9999-12-31' }), '');
  const end = control('End date', h('input', { type: 'date', min: '2022-01-01', max: '9999-12-31' }), '');
  const lang = control('Language', languageSelect(), '');
  const controls: Record<Field, Control> = { q, username, start, end, lang };
  const exactId = uniqueId('field');
  const exact = h('input', { type: 'checkbox', role: 'switch', id: exactId, class: 'switch' });
  const button = h('button', { type: 'submit', class: 'button primary' }, h('span', { class: 'spinner', 'aria-hidden': 'true' }), 'Search Posts');
  const chips = h('ul', { class: 'chips', 'aria-label': 'Understood as' });
  let size = 10;
  let busy = false;
  let asked = '';

  const read = (): Query => ({
    q: q.input.value.trim(),
    username: username.input.value.trim(),
    start: start.input.value,
    end: end.input.value,
    lang: lang.input.value,
    exact: exact.checked,
    asof: '',
    cited: '',
    cursor: '',
    page: 1,
    size,
  });
  const check = (): boolean => {
    const found = faults(read());
    for (const [name, each] of Object.entries(controls)) setFault(each, found[name as Field] ?? null);
    const first = Object.values(controls).find((each) => each.input.hasAttribute('aria-invalid'));
    first?.input.focus();
    return !first;
  };
  // The same question is not asked twice at once; another one takes its place.
  const running = (): boolean => busy && JSON.stringify(read()) === asked;
  const showBusy = (): void => {
    button.setAttribute('aria-disabled', String(running()));
    button.classList.toggle('busy', running());
  };
  const send = (): void => {
    if (running() || !check()) return;
    submit(read());
  };
  const drawChips = (): void => {
    const text = q.input.value;
    const items: HTMLElement[] = [];
    for (const token of tokens(text)) {
      const label = chipLabel(token);
      if (label === null) continue;
      const remove = (): void => {
        q.input.value = without(text, token);
        drawChips();
        q.input.focus();
        if (q.input.value) send();
      };
      const face = h('button', { type: 'button', class: `chip ${token.negated ? 'negated' : token.kind}`, onclick: remove, 'aria-label': `Remove ${label}` }, h('bdi', {}, label), icon('close'));
      items.push(h('li', {}, face));
    }
    chips.hidden = items.length === 0;
    chips.replaceChildren(...items);
  };
  const insert = (example: string): void => {
    q.input.value = `${q.input.value.trim()} ${example}`.trim();
    setFault(q, null);
    drawChips();
    q.input.focus();
  };

  q.input.addEventListener('input', drawChips);
  exact.addEventListener('input', showBusy);
  for (const [name, each] of Object.entries(controls)) {
    const revise = (): void => {
      showBusy();
      // A message goes as soon as its cause does; typing never brings up a new one.
      if (!each.input.hasAttribute('aria-invalid')) return;
      const still = faults(read())[name as Field];
      setFault(each, still ?? null);
    };
    each.input.addEventListener('input', revise);
    if (name === 'start') each.input.addEventListener('input', () => end.input.dispatchEvent(new Event('input')));
  }

  const element = h(
    'form',
    { class: 'card search-card', role: 'search', novalidate: true, 'aria-label': 'Posts', onsubmit: (event) => (event.preventDefault(), send()) },
    h('div', { class: 'search-main' }, q.element, button),
    chips,
    h(
      'div',
      { class: 'filters' },
      username.element,
      start.element,
      end.element,
      lang.element,
      h('div', { class: 'field field-switch' }, h('label', { for: exactId }, exact, h('span', {}, 'Exact match only'))),
    ),
    operatorHelp(insert),
  );
  drawChips();

  return {
    element,
    fill(query) {
      q.input.value = query.q;
      username.input.value = query.username;
      start.input.value = query.start;
      end.input.value = query.end;
      setLanguage(lang.input as HTMLSelectElement, query.lang);
      exact.checked = query.exact;
      size = query.size;
      for (const each of Object.values(controls)) setFault(each, null);
      drawChips();
    },
    setBusy(now) {
      busy = now;
      asked = JSON.stringify(read());
      showBusy();
    },
    refuse(error) {
      const name = error.parameter === 'text' ? 'q' : error.parameter;
      const wrong = name && name in controls ? controls[name as Field] : null;
      if (!wrong) return false;
      setFault(wrong, ...(wrong === q ? pointed(error, q.input.value) : [sentence(error)]));
      wrong.input.focus();
      return true;
    },
    focus: () => q.input.focus(),
  };
}
