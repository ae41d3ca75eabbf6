// Seven conveniences; every page works without them.
(function () {
  "use strict";

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-copy]");
    if (!button) return;
    var source = document.getElementById(button.dataset.copy);
    var done = function () {
      button.textContent = "Copied";
      setTimeout(function () { button.textContent = "Copy"; }, 2000);
    };
    if (navigator.clipboard) {
      navigator.clipboard.writeText(source.textContent).then(done);
      return;
    }
    // Plain http has no clipboard: select the text, so that one key press copies it.
    var range = document.createRange();
    range.selectNodeContents(source);
    var selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    if (document.execCommand("copy")) done();
  });

  document.addEventListener("submit", function (event) {
    var question = event.target.dataset.confirm;
    if (!question) return;
    if (!window.confirm(question)) {
      event.preventDefault();
      return;
    }
    // Without this script the server asks on a page of its own.
    var field = document.createElement("input");
    field.type = "hidden";
    field.name = "confirmed";
    field.value = "yes";
    event.target.appendChild(field);
  });

  // A slash leads to the search, unless something is being written.
  document.addEventListener("keydown", function (event) {
    var find = document.getElementById("find-all");
    var place = event.target;
    var writes = place.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(place.tagName);
    if (event.key !== "/" || writes || !find || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    find.focus();
    find.select();
  });

  // The stream that keeps the page true is cut: said if it is not back soon.
  var away = document.getElementById("away");
  var patience;
  document.addEventListener("htmx:sseError", function () {
    patience = patience || setTimeout(function () { if (away) away.hidden = false; }, 4000);
  });
  document.addEventListener("htmx:sseOpen", function () {
    clearTimeout(patience);
    patience = 0;
    if (away) away.hidden = true;
  });

  // A live part is replaced: what the reader unfolded stays so, and a log follows its end unless the reader scrolled up.
  var unfolded = {};
  var places = {};
  function follow() {
    document.querySelectorAll("[data-follow]").forEach(function (box) {
      var place = places[box.id];
      box.scrollTop = place === undefined ? box.scrollHeight : place;
    });
  }
  document.addEventListener("htmx:beforeSwap", function () {
    document.querySelectorAll("details[id]").forEach(function (fold) { unfolded[fold.id] = fold.open; });
    document.querySelectorAll("[data-follow]").forEach(function (box) {
      var is_at_end = box.scrollHeight - box.scrollTop - box.clientHeight < 12;
      places[box.id] = is_at_end ? undefined : box.scrollTop;
    });
  });
  document.addEventListener("htmx:afterSwap", function () {
    document.querySelectorAll("details[id]").forEach(function (fold) {
      if (unfolded[fold.id] !== undefined) fold.open = unfolded[fold.id];
    });
    follow();
  });
  follow();

  function ago(secs) {
    if (secs < 2) return "now";
    if (secs < 120) return secs + " s ago";
    if (secs < 7200) return Math.floor(secs / 60) + " min ago";
    if (secs < 172800) return Math.floor(secs / 3600) + " h ago";
    return Math.floor(secs / 86400) + " days ago";
  }
  setInterval(function () {
    document.querySelectorAll("time[data-ago]").forEach(function (time) {
      var secs = Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000));
      time.textContent = ago(secs);
    });
  }, 1000);
})();
