"""Attention of decoder layers and towers: implementations, masks, rotary embeddings, query rows, size bias."""
