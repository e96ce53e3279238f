// What is planned and not there yet: shown, labelled, not usable.
import { h, uniqueId } from '../dom';

export function comingSoon(): HTMLElement {
  const list = h('ul', { class: 'soon-list' });
  for (const name of ['Political', 'Outrage', 'Toxicity']) {
    const id = uniqueId('soon');
    const tip = h('span', { role: 'tooltip', id, class: 'tooltip' }, 'Coming soon!');
    // Not the disabled attribute: whoever uses the keyboard has to be able to reach the explanation.
    const toggle = h('button', { type: 'button', role: 'switch', 'aria-checked': 'false', 'aria-disabled': 'true', 'aria-describedby': id, title: 'Coming soon!', class: 'soon-switch' }, h('span', { class: 'track', 'aria-hidden': 'true' }), name);
    list.append(h('li', {}, toggle, tip));
  }
  const panel = h('details', { class: 'card soon', open: true }, h('summary', {}, h('h2', {}, 'Coming soon'), h('span', { class: 'fine' }, 'Filters by what a post is like')), list);
  if (matchMedia('(max-width: 767px)').matches) panel.open = false;
  return panel;
}
