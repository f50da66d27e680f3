# cmake -DINPUT=page.html -DOUTPUT=page.c -P embed.cmake: a page, with the files that it names as @FILE@ put in place, as an
# array of bytes; the page itself goes beside OUTPUT.
get_filename_component(folder ${INPUT} DIRECTORY)
get_filename_component(target ${OUTPUT} DIRECTORY)
get_filename_component(name ${INPUT} NAME)
file(READ ${INPUT} page)
string(REGEX MATCHALL "@[a-z_]+\\.(css|js)@" marks "${page}")
foreach(mark IN LISTS marks)
    string(REPLACE "@" "" part ${mark})
    file(READ ${folder}/${part} text)
    string(REPLACE "${mark}" "${text}" page "${page}")
endforeach()
file(WRITE ${target}/${name} "${page}")
file(READ ${target}/${name} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"server/watch/page.h\"\n\nconst unsigned char page_html[] = {\n${bytes}};\n"
    "const size_t page_html_bytes = sizeof(page_html);\n")
