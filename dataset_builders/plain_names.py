"""Plain names of columns: lower case, English, words with `_` between them."""

import re
from functools import lru_cache
from unicodedata import normalize

_WHOLE = {
    "sku": "artikelnummer artikelnr artikel_nr reference referentie referencia riferimento reference_produit "
    "codice_prodotto codigo_do_produto codigo_del_producto numero_d_article seller_sku",
    "title": "artikelname artikelbezeichnung bezeichnung produktname nom_du_produit designation libelle titel titre titulo "
    "titolo",
    "name": "nom nombre naam nome",
    "category": "kategorie categorie categoria warengruppe produktkategorie artikelkategorie",
    "description": "beschreibung artikelbeschreibung produktbeschreibung langbeschreibung descripcion "
    "descrizione descricao omschrijving",
    "rating": "sterne note punkte bewertung puntuacion valoracion calificacion estrellas voto valutazione stelle sterren "
    "beoordeling etoiles nota",
    "text": "bewertungstext rezension kommentar commentaire comentario commento avis opinion resena recensione recensie "
    "opmerking",
    "review_id": "bewertungs_id avis_id resena_id",
    "question_id": "fragen_id",
    "order_id": "bestellnummer bestellnr bestellung bestell_id auftragsnummer bestelnummer commande numero_de_commande pedido "
    "numero_de_pedido numero_do_pedido ordine numero_ordine",
    "quantity": "menge anzahl quantite cantidad quantidade quantita aantal",
    "status": "statut estado stato etat etat_de_la_commande",
    "active": "aktiv actif activo attivo actief",
    "approved": "freigegeben genehmigt approuve aprobado approvato goedgekeurd",
    "query": "suchbegriff suchanfrage requete recherche busqueda consulta zoekterm",
    "session_id": "sitzung sitzungs_id",
    "timestamp": "zeitstempel zeitpunkt horodatage",
    "event": "ereignis evenement evento",
    "language": "sprache langue idioma lingua taal",
}
_WORDS = {
    "brand": "hersteller marke marque fabricant marca fabricante produttore merk",
    "product": "prod produkt produit producto produto prodotto",
    "description": "desc descr",
    "category": "kategorie categorie categoria",
    "level": "ebene niveau livello nivel",
    "code": "codice codigo",
    "color": "colour farbe couleur colore cor kleur",
    "name": "nm",
    "relevance": "relevanz pertinence relevancia rilevanza relevantie",
    "question": "frage pregunta domanda vraag",
    "answer": "antwort reponse respuesta risposta antwoord",
    "order": "commande pedido ordine",
}
_ENGLISH = {foreign: word for word, names in _WHOLE.items() for foreign in names.split()}
_ENGLISH_WORDS = {foreign: word for word, names in _WORDS.items() for foreign in names.split()}
"""German, French, Spanish, Italian and Dutch, as plain names: of whole columns, and of words in any column."""


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """`product_id` of productId, Product ID [Non Editable], product-id and ID produit."""
    text = re.sub(r"\[[^\]]*\]|\([^)]*\)", " ", name) if re.match(r"\s*\w", name) else name
    text = text.replace("IDs", "Ids")
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    text = "".join(char for char in normalize("NFKD", text.casefold()) if char.isascii())
    text = re.sub(r"[^a-z0-9]+", "_", text).strip("_")
    if text in _ENGLISH:
        return _ENGLISH[text]
    words = [_ENGLISH_WORDS.get(word, word) for word in text.split("_")]
    if len(words) > 1 and words[0] == "id":  # id_product, ID avis
        words = [*words[1:], "id"]
    return _ENGLISH.get("_".join(words), "_".join(words))
