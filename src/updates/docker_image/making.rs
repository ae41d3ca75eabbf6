//! Makes containers for a replacement: the new one beside the old one, and the old one anew if it ended with its stop.

use std::collections::BTreeMap;

use serde_json::Value;

use super::basis::{id_of, image_id, name_of};
use super::replaced::{Replaced, named};
use super::swap::{Swapper, text};
use crate::domain::update::swap::{Instead, Swap, anew, other_platform, providers_of};

impl Swapper<'_> {
    /// The new container, if it is there with all its networks. What is half made is removed.
    pub(super) async fn find_new(&self, swap: &Swap) -> Result<Option<String>, String> {
        if let Some(new) = &swap.new
            && self.engine.inspect(new).await.map_err(text)?.is_some()
        {
            return Ok(Some(new.clone()));
        }
        self.remove_half(&swap.next_name(), &swap.new_image).await?;
        Ok(None)
    }

    async fn remove_half(&self, name: &str, image: &str) -> Result<(), String> {
        let Some(half) = self.engine.inspect(name).await.map_err(text)? else { return Ok(()) };
        if image_id(&half) != image || half["State"]["Status"] != "created" {
            return Err(format!("somebody else has a container `{name}`"));
        }
        self.engine.remove(id_of(&half), true).await.map_err(text)
    }

    /// Makes the new one from the old one's inspection; returns its id.
    pub(super) async fn create(
        &self,
        swap: &Swap,
        old: &Value,
        replaced: &Replaced,
    ) -> Result<String, String> {
        self.say(swap, "makes the new container beside the old one");
        self.make(swap, old, &swap.new_image, &swap.next_name(), replaced).await
    }

    /// Makes those anew that were gone with their stop, under the names of old ones that were set aside.
    pub(super) async fn make_old_ones_anew(&mut self, number: usize) -> Result<(), String> {
        let mut made = Replaced::default();
        for place in 0..self.swaps.groups[number].swaps.len() {
            let swap = self.swaps.groups[number].swaps[place].clone();
            let Some(was) = &swap.was else { continue };
            let mut old = swap.old.clone();
            if self.engine.inspect(&old).await.map_err(text)?.is_none() {
                old = match self.made_before(&swap).await? {
                    Some(made) => made,
                    None => {
                        self.say(&swap, "makes the old container anew from its record");
                        self.remove_half(&swap.aside_name(), &swap.old_image).await?;
                        self.make(&swap, was, &swap.old_image, &swap.aside_name(), &made).await?
                    }
                };
                self.swaps.groups[number].swaps[place].old = old.clone();
                // Not written down it is found again by its name.
                let _ = self.write();
            }
            made.note(id_of(was).to_owned(), old, swap.name);
        }
        Ok(())
    }

    /// The one that was made anew before, when that could not be written down: it has the name already.
    async fn made_before(&self, swap: &Swap) -> Result<Option<String>, String> {
        if swap.keeps_its_image() {
            return Ok(None);
        }
        let found = self.engine.inspect(&swap.name).await.map_err(text)?;
        let found = found.filter(|found| image_id(found) == swap.old_image);
        Ok(found.map(|found| id_of(&found).to_owned()))
    }

    async fn make(
        &self,
        swap: &Swap,
        from: &Value,
        image: &str,
        name: &str,
        replaced: &Replaced,
    ) -> Result<String, String> {
        let old_image = self.engine.inspect_image(&swap.old_image).await.map_err(text)?;
        let old_image = old_image.ok_or(
            "the image that it was made from is gone, so nobody can say what of its options is its own",
        )?;
        let engine = self.engine.platform().await.map_err(text)?;
        let platform = other_platform(from, &old_image, engine.as_ref());
        let providers = self.providers(from, replaced).await?;
        let instead = Instead {
            image: &swap.image_name,
            restart_policy: &swap.restart_policy,
            replaced: &replaced.ids,
            names: &replaced.names,
            providers: &providers,
            also_called: swap.beside.then_some(swap.name.as_str()),
        };
        let made = anew(from, &old_image, &instead);
        // A container names its image as it was told to; for the moment of its making that name has to mean this one.
        let is_named = named(&swap.image_name).is_some();
        if is_named {
            self.name(image, swap).await?;
        }
        let created = self.engine.create(name, made.create, platform.as_ref()).await.map_err(text);
        if is_named {
            self.name(&swap.tag_was, swap).await?;
        }
        let id = created?;
        let new = self.look(&id).await?;
        if image_id(&new) != image {
            self.engine.remove(&id, true).await.map_err(text)?;
            return Err(format!("the name `{}` did not lead to {image}", swap.image_name));
        }
        for (network, endpoint) in made.networks {
            self.engine.connect(&network, &id, endpoint).await.map_err(text)?;
        }
        let its_own = new["NetworkSettings"]["Networks"].as_object().filter(|_| made.is_isolated);
        for (network, _) in its_own.into_iter().flatten() {
            self.engine.disconnect(network, &id).await.map_err(text)?;
        }
        Ok(id)
    }

    /// How those are called now whose volumes a container has, by what it calls them. Who is gone is left out.
    async fn providers(
        &self,
        container: &Value,
        replaced: &Replaced,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut providers = BTreeMap::new();
        for told in providers_of(container) {
            let now = replaced.ids.get(told).map_or(told, String::as_str);
            let Some(found) = self.engine.inspect(now).await.map_err(text)? else { continue };
            // One that is set aside has the volumes of the one that has its name.
            let name = Swap::own_of(name_of(&found));
            let has_its_name =
                name == name_of(&found) || self.engine.inspect(name).await.map_err(text)?.is_some();
            let word = if has_its_name { name } else { id_of(&found) };
            providers.insert(told.to_owned(), word.to_owned());
        }
        Ok(providers)
    }

    /// Has the name of a container's image mean this one.
    pub(super) async fn name(&self, image: &str, swap: &Swap) -> Result<(), String> {
        let Some((repository, tag)) = named(&swap.image_name) else { return Ok(()) };
        self.engine.tag(image, &repository, &tag).await.map_err(text)
    }
}
