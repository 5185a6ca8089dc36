# Keeps in a document of cargo-cyclonedx only the crates in the file `list` (NAME vVERSION|LICENCE, one a line) and the
# program itself. The document is indented by two blanks, so an element of "components" or "dependencies" is between
# braces in column 5.
BEGIN {
    while ((getline line < list) > 0) {
        split(line, part, "|")
        sub(" v", "@", part[1])
        linked[part[1]] = 1
    }
}
# Whether the crate that a line refers to is in the list; true for lines that refer to no crate.
function is_linked(line, reference) {
    if (line !~ /registry\+/) return 1
    reference = line
    sub(/.*#/, "", reference)
    sub(/".*/, "", reference)
    return reference in linked
}
/^    \{$/ { element = $0; inside = 1; keep = 1; next }
inside && /^    \},?$/ {
    if (keep) {
        printf "%s%s\n    }", separator, element
        separator = ",\n"
        any = 1
    }
    inside = 0
    next
}
inside {
    if (/^      "(bom-ref|ref)": /) keep = is_linked($0)
    # A dependency of the element.
    if (/^        "registry\+/ && !is_linked($0)) next
    # If the last entry of a list was removed, the entry before it has a comma too many.
    if (/^      \]/) sub(/,$/, "", element)
    element = element "\n" $0
    next
}
/^  \]/ { if (any) printf "\n"; separator = ""; any = 0 }
{ print }
