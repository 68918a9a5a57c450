// Filters the clauses, opens the one that a link leads to, and copies commands. The page reads well without it.
(() => {
  const form = document.getElementById("filter");
  const clauses = [...document.querySelectorAll(".clause")];
  const texts = new Map(clauses.map((clause) => [clause, clause.textContent.toLowerCase()]));
  const chosen = (name) => new Set([...form.querySelectorAll(`[name="${name}"]:checked`)].map((box) => box.value));

  const filter = () => {
    const verdicts = chosen("verdict");
    const levels = chosen("level");
    const differs = form.elements.differs?.checked;
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const clause of clauses) {
      const own = clause.dataset.verdicts.split(" ");
      const fits =
        (!verdicts.size || own.some((one) => verdicts.has(one))) &&
        (!levels.size || levels.has(clause.dataset.level)) &&
        (!differs || new Set(own).size > 1) &&
        words.every((word) => texts.get(clause).includes(word));
      clause.hidden = !fits;
      shown += fits;
    }
    for (const family of document.querySelectorAll(".family")) {
      family.hidden = !family.querySelector(".clause:not([hidden])");
    }
    form.elements.shown.value = shown === clauses.length ? `${shown} clauses` : `${shown} of ${clauses.length} clauses`;
    document.getElementById("nothing").hidden = shown > 0;
  };
  const open = (value) => clauses.filter((one) => !one.hidden).forEach((one) => (one.open = value));
  const follow = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target?.classList.contains("clause")) return;
    if (target.hidden) {
      form.reset();
      filter();
    }
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus({ preventScroll: true });
  };

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  form.elements.open.addEventListener("click", () => open(true));
  form.elements.close.addEventListener("click", () => open(false));
  window.addEventListener("hashchange", follow);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.matches("input")) {
      event.preventDefault();
      form.elements.text.focus();
    }
  });
  for (const button of document.querySelectorAll(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code); // the page may not write to the clipboard
      }
    });
  }
  filter();
  follow();
})();
