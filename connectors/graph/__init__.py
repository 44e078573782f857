"""A Microsoft Graph client: tokens, pages, retries, throttling. Knows no dataset."""
