"""How a report looks: one stylesheet, light and dark, from a phone's width up; nothing is fetched."""

from typing import Final

STYLESHEET: Final = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d2126; --muted: #646b75; --line: #dcdad3; --soft: #f1efe9;
  --good: #1c7c4c; --bad: #b3362b; --plain: #6a6f78;
  --series-1: #1f6fb2; --series-2: #c8452f; --series-3: #2c8a57; --series-4: #7a50b8;
  --series-5: #b97400; --series-6: #12858c; --series-7: #b03a77; --series-8: #5d6673;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --card: #1d2024; --ink: #e8e6e1; --muted: #9da3ac; --line: #353a41; --soft: #24282d;
    --good: #5ec48d; --bad: #ef8477; --plain: #a3a9b2;
    --series-1: #6db1ec; --series-2: #f0836f; --series-3: #6cc796; --series-4: #b596ea;
    --series-5: #e2ab4b; --series-6: #57c4ca; --series-7: #e884b3; --series-8: #a9b2bf;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", "PingFang SC",
    "Microsoft YaHei", sans-serif;
}
main { max-width: 1180px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.01em; }
h2 { font-size: 1.22rem; margin: 2.75rem 0 .5rem; padding-top: .25rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; }
p { margin: .45rem 0; max-width: 46rem; }
.lead, .note { color: var(--muted); }
.note { font-size: .88rem; }
.cards { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1.05rem; }
.card h3 { margin: 0 0 .35rem; display: flex; flex-wrap: wrap; gap: .3rem .6rem; align-items: baseline; }
.card p { margin: .3rem 0; font-size: .95rem; }
.tag { font-size: .78rem; font-weight: 600; padding: .08rem .5rem; border-radius: 99px;
  border: 1px solid currentColor; }
.beats { color: var(--good); } .loses { color: var(--bad); } .neither, .apart { color: var(--plain); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: .6rem 0 .8rem; padding: 0; list-style: none;
  font-size: .92rem; }
.legend svg { width: 1.6rem; height: .8rem; vertical-align: -.05rem; margin-right: .35rem; }
.figures { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .7rem .8rem; }
figure svg { display: block; width: 100%; height: auto; font-family: inherit; }
figcaption { font-size: .9rem; margin: 0 0 .4rem; }
figcaption b { display: block; }
figcaption span { color: var(--muted); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .7rem; text-align: right; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; vertical-align: bottom; font-weight: 600; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--card);
  min-width: 8.5rem; }
tbody th { font-weight: 500; }
tbody th small, td small { display: block; color: var(--muted); font-weight: 400; font-size: .78rem; }
td small, td.beats, td.loses, td.neither, td.apart { white-space: nowrap; }
tr.group th { background: var(--soft); color: var(--muted); font-size: .8rem; font-weight: 600; }
td.best { font-weight: 650; }
td.text, th.text { text-align: left; }
.sample { margin: 0 0 .9rem; }
.turns { margin: 0 0 .6rem; padding: 0; list-style: none; }
.turns li { width: fit-content; max-width: 92%; background: var(--soft); border-radius: 10px; padding: .28rem .7rem;
  margin: .25rem 0; font-size: .93rem; }
.turns li:nth-last-child(even) { margin-left: auto; }
dl.replies { margin: 0; display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .3rem .9rem;
  font-size: .93rem; }
dl.replies dt { color: var(--muted); } dl.replies dd { margin: 0; overflow-wrap: anywhere; }
details { margin: .6rem 0; } summary { cursor: pointer; }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .9rem;
  font-size: .8rem; }
@media (max-width: 560px) {
  main { padding: 1.25rem .85rem 3rem; }
  h1 { font-size: 1.45rem; }
  dl.replies { grid-template-columns: 1fr; gap: 0; } dl.replies dd { margin-bottom: .45rem; }
  th, td { padding: .38rem .5rem; }
  th:first-child, td:first-child { min-width: 7.2rem; max-width: 9.5rem; }
  tbody th small { display: none; }
}
@media print { main { max-width: none; } .card, figure, .sample { break-inside: avoid; } }
"""
