#!/usr/bin/env python3
"""Mechanical rules that no compiler checks.

    tools/style.py            list violations; exit code 1 if there is one
    tools/style.py --fix      break lines that are too long with clang-format, those lines only; then list what is left
    tools/style.py --self-test

Errors: lines over 120 columns, banned calls, tabs, white space at line ends, files over 700 lines.
Reported only: functions over 80 lines. Tables of one row a line (*.def) may have lines of any length."""
import pathlib
import re
import subprocess
import sys

COLUMNS, FILE_LINES, FUNCTION_LINES = 120, 700, 80
# Each call and what to write instead.
BANNED = {
    "strcpy": "snprintf or bl_buf", "strcat": "snprintf or bl_buf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "gets": "bl_read_file", "atoi": "bl_parse_i64", "atol": "bl_parse_i64", "atof": "strtod", "system": "posix_spawn or fork",
    "popen": "fork", "alloca": "bl_arena", "strncpy": "snprintf", "rand": "base/rng.h", "tmpnam": "mkdtemp",
}
TESTS_MAY = {"system", "popen"}
CALL = re.compile(r"(?<![\w.>\"'])(" + "|".join(BANNED) + r")\s*\(")
STRINGS_AND_COMMENTS = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.S)


def blank_out(match):
    """Spaces for a comment or literal, so that places stay what they were."""
    return re.sub(r"[^\n]", " ", match.group())


def functions(code):
    """(first line, name, lines) of each function: a body that opens after `)` on a line that starts in column 1."""
    start, name = None, ""
    for number, line in enumerate(code.splitlines(), 1):
        if start is None:
            head = re.match(r"[A-Za-z_][^;=]*?(\w+)\s*\(", line)
            if head:
                name, begun = head.group(1), number
            if line.rstrip().endswith("{") and (line.startswith((" ", "{")) or head) and name:
                start = begun
            elif line.startswith("}") or line.rstrip().endswith(";"):
                name = ""
        elif line.startswith("}"):
            yield start, name, number - start + 1
            start, name = None, ""


def check(name, text):
    """(errors, notes) for one file: lists of (line, message)."""
    errors, notes = [], []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            errors.append((number, f"{len(line)} columns, at most {COLUMNS}"))
        if "\t" in line:
            errors.append((number, "a tab"))
        if line != line.rstrip():
            errors.append((number, "white space at the end of the line"))
    code = STRINGS_AND_COMMENTS.sub(blank_out, text)
    for match in CALL.finditer(code):
        call = match.group(1)
        if call in TESTS_MAY and name.startswith("tests/"):
            continue
        errors.append((code.count("\n", 0, match.start()) + 1, f"{call}() is banned: use {BANNED[call]}"))
    if len(lines) > FILE_LINES:
        errors.append((len(lines), f"{len(lines)} lines, at most {FILE_LINES}: split the file"))
    for number, function, count in functions(code):
        if count > FUNCTION_LINES:
            notes.append((number, f"{function}() has {count} lines; {FUNCTION_LINES} are plenty"))
    return errors, notes


def c_files(root):
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "src/*.[ch]", "tests/*.[ch]", "bench/*.[ch]", "tools/*.[ch]"],
                         cwd=root, capture_output=True, text=True, check=True).stdout
    return [root / line for line in sorted(out.splitlines()) if (root / line).exists()]


def fix(root):
    for path in c_files(root):
        for _ in range(3):  # breaking one line may leave the next one too long
            long = [n for n, line in enumerate(path.read_text().splitlines(), 1) if len(line) > COLUMNS]
            if not long:
                break
            subprocess.run(["clang-format-14", "-i", *[f"--lines={n}:{n}" for n in long], str(path)], check=True)


def report(root):
    files = c_files(root)
    found = 0
    for path in files:
        errors, notes = check(path.relative_to(root).as_posix(), path.read_text())
        for kind, rows in (("", errors), ("note: ", notes)):
            for number, message in rows:
                print(f"{path.relative_to(root)}:{number}: {kind}{message}")
        found += len(errors)
    print(f"style: {len(files)} files, {found} violations")
    return 1 if found else 0


def self_test():
    def errors(text):
        return [message for _, message in check("x.c", text)[0]]

    assert errors("int x;\n") == []
    assert errors("a" * 120) == [] and "121 columns" in errors("a" * 121)[0]
    assert errors("ü" * 120) == [], "columns are characters"
    assert "strcpy() is banned" in errors("void f(void) { strcpy(a, b); }\n")[0]
    assert errors('/* never strcpy( */ const char *s = "strcat(";  // gets()\n') == []
    assert errors("snprintf(a, 3, b); my_system(1); x.system(2); y->rand(); fgets(a, 1, f);\n") == []
    assert errors("system(1);\n") and check("tests/x.c", "system(1);\n")[0] == []
    assert errors("\tint x;\n") == ["a tab"] and "end of the line" in errors("int x; \n")[0]
    assert "701 lines" in errors("\n" * 701)[0] and errors("\n" * 700) == []
    body = "    x++;\n"
    assert list(functions("static int f(int a,\n             int b) {\n" + body * 79 + "}\n")) == [(1, "f", 82)]
    assert check("x.c", "int f(void) {\n" + body * 78 + "}\n")[1] == []
    assert "f() has 81 lines" in check("x.c", "int f(void) {\n" + body * 79 + "}\n")[1][0][1]
    assert list(functions("int f(void);\nstruct s {\n    int x;\n};\n")) == []
    print("style: the self-test passed")


if __name__ == "__main__":
    repo = pathlib.Path(__file__).resolve().parent.parent
    if "--self-test" in sys.argv:
        self_test()
        sys.exit(0)
    if "--fix" in sys.argv:
        fix(repo)
    sys.exit(report(repo))
