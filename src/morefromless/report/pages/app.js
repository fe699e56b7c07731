// Sends one patch at a time to the program that serves the page, and shows the result.
const data = JSON.parse(document.getElementById('data').textContent);
const by = (id) => document.getElementById(id);
const [form, drop, file, status, result] = ['form', 'drop', 'file', 'status', 'result'].map(by);
form.hidden = false;

function say(sentence, error = false) {
  status.textContent = sentence;
  status.classList.toggle('error', error);
}

function picture(id, address) {
  by(id).closest('figure').hidden = address === null;
  if (address !== null) by(id).src = address;
}

function rows(list, template, items, fill) {
  list.replaceChildren(...items.map((item) => {
    const row = by(template).content.firstElementChild.cloneNode(true);
    fill(row, item);
    return row;
  }));
}

function show(answer) {
  for (const [id, address] of Object.entries(answer.pictures)) picture(id, address);
  by('remarks').replaceChildren(...answer.remarks.map((sentence) => {
    const item = document.createElement('li');
    item.textContent = sentence;
    return item;
  }));
  rows(by('probabilities'), 'row', answer.probabilities, (row, [name, probability]) => {
    row.querySelector('th').textContent = name;
    row.querySelector('.track span').style.width = `${100 * probability}%`;
    row.querySelector('.value').textContent = (100 * probability).toFixed(1);
  });
  by('meter').value = answer.outlier;
  by('unusual').textContent = `${answer.outlier.toFixed(0)} % of the held-out training patches are nearer to the other training patches.`
    + (answer.outlier >= 99 ? ' It is unlike the training patches, so its class is not reliable.' : '');
  if (by('neighbours')) {
    rows(by('neighbours'), 'neighbour', answer.neighbours, (item, one) => {
      item.querySelector('img').src = one.picture;
      item.querySelector('img').alt = `Training patch ${one.id}`;
      item.querySelector('strong').textContent = one.label;
      item.querySelector('small').textContent = `distance ${one.distance.toFixed(2)}`;
      item.querySelector('.id').textContent = one.id;
    });
  }
  result.hidden = false;
}

let latest = 0;
async function inspect(chosen) {
  latest += 1;
  const number = latest;
  result.hidden = true;
  if (chosen.size > data.bytes) {
    say(data.too_large, true);
    return;
  }
  say(`Looking at ${chosen.name} …`);
  let answer;
  try {
    answer = await (await fetch('inspect', { method: 'POST', body: chosen })).json();
  } catch {
    answer = { error: 'The program does not respond; check that mfl app is still running.' };
  }
  if (number !== latest) return;
  if (answer.error) {
    say(answer.error, true);
    return;
  }
  show(answer);
  say(chosen.name);
}

file.addEventListener('change', () => {
  if (file.files.length) inspect(file.files[0]);
  file.value = '';
});
for (const kind of ['dragover', 'drop']) addEventListener(kind, (event) => event.preventDefault());
drop.addEventListener('dragover', () => drop.classList.add('over'));
for (const kind of ['dragleave', 'drop']) drop.addEventListener(kind, () => drop.classList.remove('over'));
addEventListener('drop', (event) => {
  if (event.dataTransfer.files.length) inspect(event.dataTransfer.files[0]);
});
