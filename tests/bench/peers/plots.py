"""Medians, numbers and bars for the reports of the benchmarks beside peers."""
import statistics


def median(samples, key, field):
    values = [result[field] for result in samples.get(key, []) if field in result]
    return statistics.median(values) if values else None


def number(value, form="%.0f"):
    return form % value if value is not None else ""


def bars(path, title, unit, entries, form):
    """entries: (name, value, note), drawn from the top."""
    entries = [entry for entry in entries if entry[1] is not None]
    if not entries:
        return
    width, left, line = 720, 130, 26
    height = 60 + line * len(entries)
    most = max(value for _, value, _ in entries)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" '
           'font-size="13">' % (width, height),
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           '<text x="16" y="26" font-size="15" fill="#222">%s (%s)</text>' % (title, unit)]
    for i, (name, value, note) in enumerate(entries):
        y = 44 + line * i
        colour = "#1f77b4" if name.startswith("firn") else "#444444" if name == "bare" else "#b0b7bf"
        length = (width - left - 170) * value / most
        out.append('<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text>'
                   % (left - 8, y + 14, name))
        out.append('<rect x="%d" y="%d" width="%.1f" height="18" fill="%s"/>'
                   % (left, y, length, colour))
        out.append('<text x="%.1f" y="%d" fill="#222">%s%s</text>'
                   % (left + length + 6, y + 14, form % value, note))
    out.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(out))
