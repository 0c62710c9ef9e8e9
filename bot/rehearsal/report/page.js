"use strict";
(() => {
  const panels = JSON.parse(document.getElementById("panels").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const phone = matchMedia("(max-width: 700px)");
  const chartOf = (panel) => document.getElementById(panel.id);

  // Colours are written as names of CSS variables, so that the page alone knows them.
  const painted = (value, style) => {
    if (typeof value === "string")
      return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value))
      return typeof value[0] === "object" && value[0] !== null
        ? value.map((each) => painted(each, style)) : value;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, painted(each, style)]));
  };

  // There is no room on a phone: what stands beside a chart moves in, above its line, and of the
  // tags on a chart only the short ones stay.
  const note = (each) => {
    if (!phone.matches) return each;
    if (each.showarrow) return { ...each, text: each.name, visible: each.name !== "" };
    return { ...each, text: each.text.replace("<br>", " "), xanchor: "right", xshift: -2,
      yanchor: "bottom", align: "right", bgcolor: "--veil" };
  };

  const layoutOf = (panel, style) => painted({
    ...panel.layout,
    annotations: (panel.layout.annotations || []).map(note),
    height: phone.matches ? Math.min(panel.height, 330) : panel.height,
    margin: phone.matches ? { l: 46, r: 6, t: 10, b: 40 } : { l: 62, r: 118, t: 12, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    showlegend: false,
    hovermode: "x unified",
    hoverlabel: { bgcolor: "--card", bordercolor: "--edge", font: { color: "--ink" } },
    dragmode: phone.matches ? false : "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: "--soft" },
    xaxis: {
      type: "date", range: panel.range, gridcolor: "--grid", linecolor: "--zero", zeroline: false,
      hoverformat: "%-d %b %Y, %H:%M:%S UTC", tickformatstops: [
        { dtickrange: [null, 59999], value: "%H:%M:%S\n%-d %b %Y" },
        { dtickrange: [60000, 86399999], value: "%H:%M\n%-d %b %Y" },
        { dtickrange: [86400000, null], value: "%-d %b\n%Y" },
      ],
      nticks: phone.matches ? 5 : 10, fixedrange: phone.matches,
    },
    yaxis: {
      gridcolor: "--grid", zeroline: true, zerolinecolor: "--zero", fixedrange: phone.matches,
      automargin: phone.matches, // a price of seven digits needs more than the margin there
      ...panel.layout.yaxis,
    },
  }, style);

  const config = { displayModeBar: false, responsive: true, doubleClick: "reset" };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const panel of panels)
      Plotly.react(chartOf(panel), painted(panel.traces, style), layoutOf(panel, style), config);
  };

  // A zoom into one chart shows the same time on all of them.
  let following = false;
  const follow = async (from, change) => {
    if (following) return;
    const range = change["xaxis.range"] || (change["xaxis.range[0]"] !== undefined
      && [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    if (!range) return;
    following = true;
    await Promise.all(panels.filter((panel) => panel !== from)
      .map((panel) => Plotly.relayout(chartOf(panel), { "xaxis.range": [...range] })));
    following = false;
  };

  draw();
  for (const panel of panels) chartOf(panel).on("plotly_relayout", (change) => follow(panel, change));
  dark.addEventListener("change", draw);
  phone.addEventListener("change", draw);
})();
