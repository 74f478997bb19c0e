const examples = document.querySelectorAll("article[data-kind]");
const buttons = document.querySelectorAll("button[data-show]");
for (const button of buttons) {
  button.addEventListener("click", () => {
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    for (const example of examples) example.hidden = button.dataset.show !== "" && example.dataset.kind !== button.dataset.show;
  });
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details.about")) details.open = true;
});
