"""Steps from one layout of the tables to the next; `Database.open` takes them."""
