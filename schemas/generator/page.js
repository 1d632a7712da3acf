"use strict";
(function () {
  var field = document.getElementById("find");
  var count = document.getElementById("found");
  var cards = Array.from(document.querySelectorAll("main .card"));

  function openTarget() {
    var target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") {
      target.open = true;
      target.scrollIntoView();
    }
  }

  function filter() {
    var words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    cards.forEach(function (card) {
      var text = card.firstElementChild.textContent.toLowerCase();
      card.hidden = !words.every(function (word) { return text.includes(word); });
      shown += card.hidden ? 0 : 1;
    });
    count.textContent = words.length ? shown + " of " + cards.length + " match" : "";
  }

  document.querySelector(".find").hidden = false;
  field.addEventListener("input", filter);
  if (matchMedia("(min-width: 62rem)").matches) document.querySelector("nav > details").open = true;
  addEventListener("hashchange", openTarget);
  openTarget();
})();
