# cmake -DINPUT=page.html -DOUTPUT=page.c -P embed.cmake: a file as an array of bytes.
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"server/watch/page.h\"\n\nconst unsigned char page_html[] = {\n${bytes}};\n"
    "const size_t page_html_bytes = sizeof(page_html);\n")
