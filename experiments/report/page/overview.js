"use strict";
// The table (DataTables) and the plot (Plotly). Both libraries lie in this page as text and run once it has been drawn.
{
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("data");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
  follow();
  dark.addEventListener("change", follow);

  async function makeTable() {
    const address = URL.createObjectURL(new Blob([read("datatables")], { type: "text/javascript" }));
    const { default: DataTable } = await import(address);
    URL.revokeObjectURL(address);
    const table = document.getElementById("table");
    const columns = data.columns.map((column, index) => ({
      targets: index + 1, // after the method's name
      visible: !column.hidden,
      orderSequence: column.better > 0 ? ["desc", "asc", ""] : ["asc", "desc", ""],
    }));
    const shown = new DataTable(table, {
      paging: false,
      order: [],
      autoWidth: false,
      columnDefs: columns,
      layout: { topStart: "search", topEnd: null, bottomStart: "info", bottomEnd: null },
      language: { search: "Filter rows", info: "_TOTAL_ runs", infoFiltered: "of _MAX_", infoEmpty: "no run" },
    });
    for (const [index, column] of data.columns.entries()) {
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !column.hidden });
      box.addEventListener("change", () => shown.column(index + 1).visible(box.checked));
      const label = document.createElement("label");
      label.append(box, ` ${column.label}`);
      document.getElementById("columns").append(label);
    }
    document.documentElement.dataset.table = "ready";
  }

  const axes = { x: document.getElementById("x-axis"), y: document.getElementById("y-axis") };
  const group = document.getElementById("plot-group");
  for (const select of Object.values(axes))
    for (const [index, column] of data.columns.entries()) select.add(new Option(column.label, index));
  const at = (key) => data.columns.findIndex((column) => column.key === key);
  const firstScore = data.metrics.length ? at(data.metrics[0].name) : 0;
  axes.x.value = Math.max(at("flops"), at("nfe"), 0);
  axes.y.value = Math.max(firstScore, 0);

  // The runs that no other beats in both columns, by the first.
  function front(points, x, y) {
    const cost = (point) => -x.better * point.values[x.key];
    const gain = (point) => y.better * point.values[y.key];
    let best = -Infinity;
    return [...points]
      .sort((a, b) => cost(a) - cost(b) || gain(b) - gain(a))
      .filter((point) => gain(point) > best && ((best = gain(point)), true));
  }

  function bars(points, key) {
    const distance = (side) => (point) =>
      key in point.intervals ? Math.abs(point.intervals[key][side] - point.values[key]) : 0;
    return {
      type: "data", symmetric: false, thickness: 1, width: 3,
      array: points.map(distance(1)), arrayminus: points.map(distance(0)),
      visible: points.some((point) => key in point.intervals),
    };
  }

  const COLOURS = ["#3b7dd8", "#d9822b", "#3a9a5b", "#c0504d", "#8a63b8", "#8c6d4f", "#c560a0", "#7c7c7c", "#a0a030", "#2aa0b0"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "pentagon", "star", "hexagram"];

  function traces(points, x, y) {
    const families = [...new Set(points.map((point) => point.family))];
    const line = front(points, x, y);
    const dashed = {
      x: line.map((point) => point.values[x.key]), y: line.map((point) => point.values[y.key]),
      mode: "lines", name: "no run beats these", hoverinfo: "skip", line: { dash: "dash", width: 1, color: "#888" },
    };
    return [dashed, ...families.map((family, index) => {
      const own = points.filter((point) => point.family === family);
      return {
        x: own.map((point) => point.values[x.key]), y: own.map((point) => point.values[y.key]),
        error_x: bars(own, x.key), error_y: bars(own, y.key),
        mode: "markers", name: family, text: own.map((point) => point.label),
        hovertemplate: `%{text}<br>${x.label} %{x:.4~g}, ${y.label} %{y:.4~g}<extra></extra>`,
        marker: { size: 10, symbol: SYMBOLS[index % SYMBOLS.length], color: COLOURS[index % COLOURS.length] },
      };
    })];
  }

  function draw() {
    const [x, y] = [axes.x, axes.y].map((select) => data.columns[select.value]);
    const shown = data.points.filter((point) => point.group === Number(group?.value ?? 0));
    const points = shown.filter((point) => point.values[x.key] !== null && point.values[y.key] !== null);
    const style = getComputedStyle(document.documentElement);
    const [ink, rule] = ["--ink", "--rule"].map((name) => style.getPropertyValue(name));
    const axis = (column) => ({ title: { text: column.label }, gridcolor: rule, linecolor: ink, zeroline: false, ticks: "outside" });
    const layout = {
      paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: ink, size: 13 },
      margin: { l: 64, r: 16, t: 10, b: 52 }, xaxis: axis(x), yaxis: axis(y), legend: innerWidth < 700 ? { orientation: "h", y: -0.25 } : {},
      hoverlabel: { align: "left" },
    };
    Plotly.react("plot", traces(points, x, y), layout, { displayModeBar: false, responsive: true });
    const names = front(points, x, y).map((point) => point.label);
    const left = shown.length - points.length;
    document.getElementById("plot").setAttribute("aria-label", `${y.label} against ${x.label} of ${points.length} runs`);
    document.getElementById("front").textContent =
      `Beaten by none in ${x.label} and ${y.label}: ${names.join("; ") || "there is no run with both"}.` +
      (left ? ` Not drawn, for want of one of the two: ${left}.` : "");
  }

  function makePlot() {
    const script = document.createElement("script");
    script.textContent = read("plotly");
    document.head.append(script);
    draw();
    for (const select of [axes.x, axes.y, group]) select?.addEventListener("change", draw);
    dark.addEventListener("change", draw);
    document.documentElement.dataset.plot = "ready";
  }

  const whenSeen = () => new IntersectionObserver(([entry], observer) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    makePlot();
  }, { rootMargin: "200px" }).observe(document.getElementById("plot"));
  makeTable().then(whenSeen);
}
