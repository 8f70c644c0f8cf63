/* Values as the text that ComfyUI's messages quote: str() and repr() of Python.
 *
 * Clients show these texts and compare some of them. Source: Python's language reference, 3.3.1
 * (object.__repr__, __str__) and the documentation of float. Threads: any. */
#pragma once
#include "base/buf.h"
#include "base/value.h"

/* A string as it is; everything else as its repr. NULL is None. */
void pytext_str(buf *out, const value *v);
void pytext_repr(buf *out, const value *v);
/* Shortest digits that read back, always with a point or an exponent: 8.0, 1e+16, nan. */
void pytext_float(buf *out, double v);
/* Name of the type as messages have it: "NoneType", "dict" ... */
const char *pytext_type(const value *v);
/* The same in an arena. */
str pytext_str_in(arena *a, const value *v);
str pytext_repr_in(arena *a, const value *v);
