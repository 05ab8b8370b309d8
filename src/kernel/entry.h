/* Entry: a method that tries the fast path before it calls the Python one. */

#ifndef DELTARING_ENTRY_H
#define DELTARING_ENTRY_H

#include "feed.h"

extern PyTypeObject Entry_Type;

#endif
