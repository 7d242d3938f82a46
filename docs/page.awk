# Filters a Markdown page for Doxygen: headings get the anchors that GitHub gives them, with the page's name before them,
# links to files that are not pages lead to the repository, and images are where Doxygen puts them.
BEGIN { repository = "https://github.com/larder-cpp/larder/blob/main/" }
FNR == 1 {
  page = FILENAME
  sub(/.*\//, "", page)
  sub(/\.md$/, "", page)
  folder = FILENAME ~ /\/docs\/[^\/]*$/ ? "docs/" : ""
}
/^```/ { code = !code }
code || /^    / { print; next }

/^##+ / {
  slug = tolower($0)
  sub(/^#+ /, "", slug)
  gsub(/[^a-z0-9 _-]/, "", slug)
  gsub(/ /, "-", slug)
  $0 = $0 " {#" page "-" slug "}"
}
{
  sub(/<img src="[^"]*\//, "<img src=\"")
  line = ""
  while (match($0, /\]\([^)]*\)/)) {
    target = substr($0, RSTART + 2, RLENGTH - 3)
    if (target ~ /^#/) target = "#" page "-" substr(target, 2)
    else if (target ~ /^(docs\/)?[a-z_]+\.md#/) {
      sub(/^docs\//, "", target)
      sub(/\.md#/, "-", target)
      target = "#" target
    } else if (target !~ /^https?:/ && target !~ /^(docs\/)?[a-zA-Z_]+\.md$/) {
      target = repository (target ~ /^\.\.\// ? substr(target, 4) : folder target)
    }
    line = line substr($0, 1, RSTART + 1) target ")"
    $0 = substr($0, RSTART + RLENGTH)
  }
  print line $0
}
