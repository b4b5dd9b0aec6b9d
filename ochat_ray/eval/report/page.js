"use strict";
// Finds questions by a word, and opens the one that a link names. Without it the page is whole.
(() => {
  const opened = () => {
    const named = document.getElementById(location.hash.slice(1));
    if (named instanceof HTMLDetailsElement) {
      named.hidden = false;
      named.open = true;
      named.scrollIntoView();
    }
  };
  addEventListener("hashchange", opened);
  opened();

  const find = document.getElementById("find");
  if (!find) return;
  const found = document.getElementById("found");
  const questions = [...document.getElementById("questions").children];
  let texts = null; // lower-cased when first needed: they are large

  function filter() {
    texts ??= questions.map((one) => one.textContent.toLowerCase());
    const word = find.value.trim().toLowerCase();
    let count = 0;
    questions.forEach((one, index) => {
      one.hidden = !texts[index].includes(word);
      count += one.hidden ? 0 : 1;
    });
    found.value = word ? `${count.toLocaleString("en")} of ${questions.length.toLocaleString("en")}` : "";
  }

  find.addEventListener("input", filter);
  find.parentElement.hidden = false;
  if (find.value) filter(); // what a reload left in it
})();
