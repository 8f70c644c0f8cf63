/* Weights with the rows of a tile next to each other: what the matrix kernels read fastest.
 *
 * A tile is KERN_TILE_ROWS (16) rows of k elements. Interleaved, each unit of every block (a dword
 * of its bytes; two bytes or one where a block's scale is that long) lies beside the same unit of
 * the other fifteen rows: a unit at byte `at` of block b is, for row r, at
 *   (b * block_bytes + at) * 16 + r * unit_bytes
 * so a tile has exactly the bytes of its rows, is read from front to back, and a vector register
 * holds the same elements of sixteen rows without a shuffle. Units: all of a block is dwords, but
 * for d in front of Q4_0, Q5_0, Q8_0 and IQ4_NL, behind Q3_K and Q6_K, and MXFP4's e.
 * Plain floats are interleaved by dwords too. Threads: any. */
#pragma once
#include "kern/dtype.h"

enum { KERN_TILE_ROWS = 16 };

/* Whether rows of k elements of this type can be interleaved: what the matrix kernels multiply. */
bool kern_can_interleave(dtype t, int64_t k);

/* dst [16 rows' bytes] = the 16 rows at src, src + stride, ..; k elements each. */
void kern_interleave(dtype t, const void *src, int64_t stride, int64_t k, void *dst);

/* Blocks [first, first + n) of one row of a tile, as they were. */
void kern_deinterleave(dtype t, const void *tile, int row, int64_t first, int64_t n, void *dst);

/* Elements that kern_deinterleave calls a block: the type's, or those of a dword of floats. */
int64_t kern_interleave_block(dtype t);
