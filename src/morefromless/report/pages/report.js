// Tables can be sorted (click on a header), filtered (if they are long), and copied (with tabs).
const text = (cell) => cell.textContent.replace(/\s+/g, ' ').trim();
const number = (cell) => parseFloat(text(cell).replace('−', '-').replace('<', '').replace(/,/g, ''));

function sort(table, column, header) {
  const down = header.getAttribute('aria-sort') === 'ascending';
  table.querySelectorAll('[aria-sort]').forEach((one) => one.removeAttribute('aria-sort'));
  header.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.matches('.group'));
    rows.sort((one, other) => {
      const [a, b] = [one.cells[column], other.cells[column]];
      const difference = number(a) - number(b);
      const order = Number.isNaN(difference) ? text(a).localeCompare(text(b)) : difference;
      return down ? -order : order;
    });
    body.append(...rows);
  }
}

async function copy(table, button) {
  const rows = [...table.rows].filter((row) => !row.hidden);
  const lines = rows.map((row) => [...row.cells].map(text).join('\t')).join('\n');
  try {
    await navigator.clipboard.writeText(lines);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'This browser does not allow a page to copy';
  }
  setTimeout(() => { button.textContent = 'Copy table'; }, 2000);
}

const LONG = 8;
for (const box of document.querySelectorAll('.scrolled:has(> table:not(.words))')) {
  const table = box.querySelector('table');
  const tools = document.createElement('p');
  tools.className = 'tools';
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy table';
  button.addEventListener('click', () => copy(table, button));
  tools.append(button);
  const rows = [...table.querySelectorAll('tbody tr:not(.group)')];
  if (rows.length > LONG) {
    const label = document.createElement('label');
    const input = document.createElement('input');
    input.type = 'search';
    input.addEventListener('input', () => rows.forEach((row) => {
      const words = [...row.cells].map(text).join(' ').toLowerCase();
      row.hidden = !words.includes(input.value.toLowerCase());
    }));
    label.append('Rows with ', input);
    tools.append(label);
  }
  box.after(tools);
  const headers = table.tHead ? [...table.tHead.rows].at(-1).cells : [];
  [...headers].forEach((header, column) => {
    if (!text(header) || header.matches('.strip')) return;
    const head = document.createElement('button');
    head.type = 'button';
    head.title = 'Sort by this column';
    head.append(...header.childNodes);
    head.addEventListener('click', () => sort(table, column, header));
    header.append(head);
  });
}

// Closed details are printed too.
const folded = () => document.querySelectorAll('details:not([open])');
let opened = [];
addEventListener('beforeprint', () => {
  opened = [...folded()];
  opened.forEach((one) => { one.open = true; });
});
addEventListener('afterprint', () => opened.forEach((one) => { one.open = false; }));

// Tables that are wider than their box can be scrolled with keys.
function reach() {
  for (const box of document.querySelectorAll('.scrolled')) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute('tabindex');
  }
}
addEventListener('resize', reach);
document.querySelector('details').addEventListener('toggle', reach);
reach();
