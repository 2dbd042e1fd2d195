# HPACK's static table and Huffman code (RFC 7541 appendices A and B), written by tools/gen_hpack.py. Law: constants only.
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from "hpack_tables.h" nogil:
    enum:
        FM_HUFFMAN_BITS         # of a look into fm_huffman_fast
        FM_HUFFMAN_EOS

    ctypedef struct fm_hpack_entry:
        uint16_t off            # of the name in fm_hpack_text; the value follows it
        uint8_t name_len
        uint8_t value_len
        uint8_t first           # the indices that have this name
        uint8_t last

    ctypedef struct fm_huffman_row:
        uint32_t last           # last code of the row, ones below
        uint32_t first          # first code of the row, zeros below
        uint16_t order          # of the first code in fm_huffman_order
        uint8_t bits

    const fm_hpack_entry fm_hpack_static[62]    # by index, from 1
    const char* fm_hpack_text
    const uint8_t fm_hpack_slots[128]           # the first index that may have a name, by FM_HPACK_SLOT; 0: none
    uint32_t FM_HPACK_SLOT(uint32_t n, uint32_t first, uint32_t last) noexcept
    # first symbol, second << 8, bits of all << 16, bits of the first << 20, symbols << 24; 0: a longer code
    const uint32_t fm_huffman_fast[2048]
    const fm_huffman_row* fm_huffman_long       # the first row whose last is not below the next 32 bits has their length
    const uint16_t fm_huffman_order[257]
