'use strict';

// The gallery of two encoders' disagreements. The current view (filters, page, opened patch) is
// written to the address after '#' and read from there, so links to a view work everywhere.

const PAGE = 24;
const PAUSE = 400; // ms; browsers refuse to change the address more than about 100 times in 30 s
const SIDES = ['a', 'b'];

const data = JSON.parse(document.getElementById('data').textContent);
const patches = data.ids.map(patchOf);
data.gallery.forEach((index, rank) => { patches[index].rank = rank; });
const gallery = data.gallery.map((index) => patches[index]);

const form = document.getElementById('filters');
const cards = document.getElementById('cards');
const dialog = document.getElementById('patch');
const pageInput = document.getElementById('page');

let found = gallery;
let page = 1;
let opened = null;
let writing;
const openers = new Map(); // patch -> the button that opens it, for the patches on this page

function patchOf(id, index) {
  const label = data.labels[index];
  const said = data.predictions.map((of) => of[index]);
  const [a, b] = said.map((one) => one === label);
  const right = a ? (b ? 'both' : 'a') : (b ? 'b' : 'neither');
  return { id, index, label, said, right, group: data.groups?.[index] };
}

// --- Filters -------------------------------------------------------------------------------------

const FITS = {
  true: (patch, value) => data.classes[patch.label] === value,
  a: (patch, value) => data.classes[patch.said[0]] === value,
  b: (patch, value) => data.classes[patch.said[1]] === value,
  either: (patch, value) => patch.said.some((one) => data.classes[one] === value),
  right: (patch, value) => patch.right === value,
  group: (patch, value) => patch.group === value,
  id: (patch, value) => patch.id.toLowerCase().includes(value.toLowerCase()),
};

function filters() {
  return [...new FormData(form)].filter(([, value]) => value);
}

function fitting(some) {
  const asked = filters().filter(([name]) => name in FITS);
  return some.filter((patch) => asked.every(([name, value]) => FITS[name](patch, value)));
}

function search() {
  const first = form.elements.first.value;
  found = fitting(gallery);
  if (first) found.sort((one, other) => (other.right === first) - (one.right === first));
}

// --- The address ---------------------------------------------------------------------------------

function address() {
  const parts = new URLSearchParams(filters());
  if (page > 1) parts.set('page', page);
  if (opened) parts.set('patch', opened.id);
  return parts.size ? `#${parts}` : location.pathname + location.search;
}

function writeAddress() {
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, '', address()), PAUSE);
  markLinks();
}

function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  for (const control of form.elements) {
    if (!control.name) continue;
    control.value = parts.get(control.name) ?? '';
    if (control.selectedIndex === -1) control.value = ''; // a class or group that this page does not have
  }
  opened = null;
  search();
  show(Number(parts.get('page')) || 1);
  const asked = gallery.find((patch) => patch.id === parts.get('patch'));
  if (asked) openPatch(asked);
  else dialog.close();
}

// The browser follows links to a place on the page (#gallery); they do not change the filters.
function addressChanged() {
  if (/^#[^=]+$/.test(location.hash)) writeAddress();
  else readAddress();
}

function markLinks() {
  const shown = new URLSearchParams(filters()).toString();
  for (const link of document.querySelectorAll('.matrix a, .outcomes a')) {
    const leads = new URLSearchParams(link.hash.slice(1)).toString();
    if (leads === shown) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
  }
}

// --- Pictures ------------------------------------------------------------------------------------

// A sheet is loaded when the first picture on it comes near the window.
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) load(entry.target);
}, { rootMargin: '200px' });

function load(picture) {
  picture.style.backgroundImage = `url("${picture.dataset.sheet}")`;
  watcher.unobserve(picture);
}

function depict(picture, patch, words) {
  const { side, columns, gutter } = data;
  const view = picture.dataset.view;
  const at = data.places[patch.index];
  const pitch = side + 2 * gutter;
  const place = at % columns ** 2;
  const offset = (number) => `${100 * (number * pitch + gutter) / (columns * pitch - side)}%`;
  const [row, column] = [Math.floor(place / columns), place % columns];
  picture.style.backgroundSize = `${100 * columns * pitch / side}%`;
  picture.style.backgroundPosition = `${offset(column)} ${offset(row)}`;
  picture.style.backgroundImage = '';
  picture.dataset.sheet = data.sheets[view][Math.floor(at / columns ** 2)];
  picture.setAttribute('aria-label', words);
  watcher.observe(picture);
}

function depictViews(within, patch) {
  const [a, b] = patch.said.map((one) => data.classes[one]);
  const words = {
    primary: `Primary view of ${patch.id}`,
    privileged: `Privileged view of ${patch.id}`,
    'cam-a': `GradCAM of A for ${a}`,
    'cam-b': `GradCAM of B for ${b}`,
  };
  for (const picture of within.querySelectorAll('.picture')) {
    depict(picture, patch, words[picture.dataset.view]);
  }
}

// Pictures are enlarged by whole numbers, so that pixels stay square. If they are made smaller, they
// are smoothed, because pixels would be dropped otherwise.
function setSize(name, wanted) {
  const times = Math.max(1, Math.round(wanted / data.side));
  const size = data.side > 1.25 * wanted ? wanted : times * data.side;
  const { style } = document.documentElement;
  style.setProperty(`--${name}`, `${size}px`);
  style.setProperty(`--${name}-drawn`, size < data.side ? 'auto' : 'pixelated');
}

// --- Cards ---------------------------------------------------------------------------------------

function write(within, texts) {
  for (const place of within.querySelectorAll('[data-text]')) {
    if (place.dataset.text in texts) place.textContent = texts[place.dataset.text];
  }
}

function copyOf(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

function perCent(permille) {
  return (permille / 10).toFixed(1);
}

function describe(within, patch) {
  const texts = { id: patch.id, label: data.classes[patch.label] };
  SIDES.forEach((name, side) => {
    const one = patch.said[side];
    const right = one === patch.label;
    texts[name] = data.classes[one];
    texts[`sure-${name}`] = `${perCent(data.permille[side][patch.rank][one])} %`;
    texts[`mark-${name}`] = right ? '✓ right' : '✗ wrong';
    within.querySelector(`[data-text="mark-${name}"]`).classList.toggle('right', right);
  });
  write(within, texts);
  depictViews(within.querySelector('.pictures'), patch);
}

function card(patch) {
  const made = copyOf('card');
  describe(made, patch);
  const opener = made.querySelector('.opens');
  opener.addEventListener('click', () => openPatch(patch));
  openers.set(patch, opener);
  return made;
}

const pages = () => Math.max(1, Math.ceil(found.length / PAGE));
const possible = (wanted) => Math.min(Math.max(1, Math.trunc(wanted)), pages());

function show(wanted) {
  page = possible(wanted);
  watcher.disconnect();
  openers.clear();
  cards.start = (page - 1) * PAGE + 1;
  cards.replaceChildren(...found.slice((page - 1) * PAGE, page * PAGE).map(card));
  pageInput.value = page;
  pageInput.max = pages();
  document.getElementById('pages').textContent = `of ${pages()}`;
  document.getElementById('back').setAttribute('aria-disabled', page === 1);
  document.getElementById('on').setAttribute('aria-disabled', page === pages());
  document.getElementById('status').textContent = statusText();
  writeAddress();
}

function statusText() {
  const [some, all] = [found.length, gallery.length].map((number) => number.toLocaleString('en'));
  const elsewhere = fitting(patches).length - found.length;
  const rest = filters().length && elsewhere
    ? ` ${elsewhere.toLocaleString('en')} more test patches match but are not in this gallery.` : '';
  return `${some} of ${all} patches, page ${page} of ${pages()}.${rest}`;
}

// Cards are replaced when the page turns. If the focus was on a card, it moves to the first one.
function turn(wanted) {
  if (possible(wanted) === page) return;
  const within = cards.contains(document.activeElement);
  show(wanted);
  cards.scrollIntoView();
  if (within) cards.querySelector('.opens').focus({ preventScroll: true });
}

// --- One patch -----------------------------------------------------------------------------------

function openPatch(patch) {
  opened = patch;
  describe(dialog, patch);
  write(dialog, { group: patch.group === undefined ? '' : `, group ${patch.group}` });
  fillProbabilities(patch);
  dialog.querySelectorAll('.neighbours').forEach((list) => fillNeighbours(list, patch));
  for (const button of dialog.querySelectorAll('[data-step]')) {
    button.setAttribute('aria-disabled', !beside(Number(button.dataset.step)));
  }
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  writeAddress();
}

function fillProbabilities(patch) {
  dialog.querySelectorAll('.probabilities tbody tr').forEach((row, of) => {
    row.classList.toggle('labelled', of === patch.label);
    row.querySelector('small').textContent = of === patch.label ? 'label' : '';
    row.querySelectorAll('td').forEach((cell, side) => {
      const permille = data.permille[side][patch.rank][of];
      cell.classList.toggle('chosen', patch.said[side] === of);
      cell.firstElementChild.firstElementChild.style.width = `${permille / 10}%`;
      cell.lastElementChild.textContent = perCent(permille);
    });
  });
}

function fillNeighbours(list, patch) {
  const side = Number(list.dataset.side);
  const near = data.neighbours[side][patch.rank].map((index) => patches[index]);
  const same = near.filter((one) => one.label === patch.label).length;
  write(dialog, { [`near-${SIDES[side]}`]: `${same} of ${near.length} have this label` });
  list.replaceChildren(...near.map((one) => neighbour(one, patch)));
}

function neighbour(one, patch) {
  const made = copyOf('neighbour');
  const shared = [one.label === patch.label && 'same label',
    one.group !== undefined && one.group === patch.group && 'same group'];
  made.classList.toggle('same', one.label === patch.label);
  write(made, { label: data.classes[one.label], same: shared.filter(Boolean).join(', ') });
  depict(made.querySelector('.picture'), one, `Primary view of ${one.id}`);
  return made;
}

function beside(step) {
  const at = found.indexOf(opened);
  return at === -1 ? undefined : found[at + step];
}

function step(by) {
  const next = beside(by);
  if (next) openPatch(next);
}

function patchClosed() {
  const last = opened;
  opened = null;
  const at = found.indexOf(last);
  if (at !== -1) turn(Math.floor(at / PAGE) + 1);
  writeAddress();
  openers.get(last)?.focus();
}

// --- The matrices --------------------------------------------------------------------------------

function writeUnits(name) {
  const unit = name === 'share' ? ' %' : '';
  for (const link of document.querySelectorAll('.matrix a')) {
    link.textContent = link.dataset[name];
    link.setAttribute('aria-label', `${link.textContent}${unit}, ${link.dataset.about}`);
  }
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// The next number with a link, from a cell in the direction of an arrow.
function nextLink(table, cell, [down, right]) {
  const { rows } = table.tBodies[0];
  let row = cell.parentElement.sectionRowIndex;
  let column = cell.cellIndex;
  do {
    row += down;
    column += right;
    const link = rows[row]?.cells[column]?.querySelector('a');
    if (link) return link;
  } while (rows[row] && column > 0 && column <= data.classes.length);
  return null;
}

// One tab stop per table, not one per number.
function rove(table) {
  const links = table.querySelectorAll('a');
  links.forEach((link, number) => { link.tabIndex = number ? -1 : 0; });
  table.addEventListener('focusin', (event) => {
    links.forEach((link) => { link.tabIndex = link === event.target ? 0 : -1; });
  });
  table.addEventListener('keydown', (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow || modified(event)) return;
    event.preventDefault();
    nextLink(table, event.target.closest('td'), arrow)?.focus();
  });
}

// --- Keys and clicks -----------------------------------------------------------------------------

function modified(event) {
  return event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
}

function galleryKey(event) {
  if (modified(event) || dialog.open || event.target.closest('input, select')) return;
  if (event.key === 'n') turn(page + 1);
  if (event.key === 'p') turn(page - 1);
}

function dialogKey(event) {
  if (modified(event)) return;
  if (event.key === 'ArrowRight') step(1);
  if (event.key === 'ArrowLeft') step(-1);
}

function followed(event) {
  if (modified(event) || !event.target.closest('a')) return;
  const section = document.getElementById('gallery');
  section.scrollIntoView();
  section.focus({ preventScroll: true });
}

function refilter() {
  search();
  show(1);
}

function start() {
  for (const part of document.querySelectorAll('.scripted')) part.hidden = false;
  setSize('thumbnail', 128);
  setSize('large', 208);
  setSize('small', 64);
  document.querySelectorAll('.matrix').forEach(rove);
  for (const radio of document.getElementsByName('units')) {
    radio.addEventListener('change', () => writeUnits(radio.value));
  }
  form.elements.id.addEventListener('input', refilter);
  form.querySelectorAll('select').forEach((select) => select.addEventListener('change', refilter));
  form.addEventListener('reset', () => setTimeout(refilter));
  form.addEventListener('submit', (event) => event.preventDefault());
  document.getElementById('back').addEventListener('click', () => turn(page - 1));
  document.getElementById('on').addEventListener('click', () => turn(page + 1));
  pageInput.addEventListener('change', () => {
    turn(Number(pageInput.value));
    pageInput.value = page; // replaces a number that is not a page
  });
  document.getElementById('gallery').addEventListener('keydown', galleryKey);
  dialog.addEventListener('keydown', dialogKey);
  dialog.addEventListener('close', patchClosed);
  for (const button of dialog.querySelectorAll('[data-step]')) {
    button.addEventListener('click', () => step(Number(button.dataset.step)));
  }
  for (const links of document.querySelectorAll('.matrix, .outcomes')) {
    links.addEventListener('click', followed);
  }
  addEventListener('hashchange', addressChanged);
  addEventListener('beforeprint', () => cards.querySelectorAll('.picture').forEach(load));
  readAddress();
}

start();
