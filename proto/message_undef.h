/* No include guard: clears the field macros after each expansion of messages.def. */
#undef REQUEST
#undef REPLY
#undef F_I64
#undef F_BOOL
#undef F_SLICE
#undef F_SLICES
#undef F_I64S
#undef F_RAW
#undef F_RAWS
#undef END
