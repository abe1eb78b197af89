"""The grammar of Google's API improvement proposals that lists and updates speak: filters, orders, pages, masks, etags. Pure."""
