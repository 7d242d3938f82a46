# cmake -D FROM=… -D TO=… -P make_other.cmake: a copy of the headers with another version's number.
file(COPY ${FROM}/ DESTINATION ${TO})
file(READ ${TO}/larder/version.hpp text)
string(REGEX REPLACE "(VERSION_PATCH) [0-9]+" "\\1 99" text "${text}")
file(WRITE ${TO}/larder/version.hpp "${text}")
