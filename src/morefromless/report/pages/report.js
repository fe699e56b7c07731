// What is folded up is printed too.
const folded = () => document.querySelectorAll('details:not([open])');
let opened = [];
addEventListener('beforeprint', () => {
  opened = [...folded()];
  opened.forEach((one) => { one.open = true; });
});
addEventListener('afterprint', () => opened.forEach((one) => { one.open = false; }));

// What is wider than its box can be scrolled by keys too.
function reach() {
  for (const box of document.querySelectorAll('.scrolled')) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute('tabindex');
  }
}
addEventListener('resize', reach);
document.querySelector('details').addEventListener('toggle', reach);
reach();
